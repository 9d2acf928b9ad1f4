"""A file cannot export a built-in name under that same name; so here it gets another one."""

NativeProtoInfo = ProtoInfo
