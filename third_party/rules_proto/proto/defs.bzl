"""The names of rules_proto that Bazel's own BUILD files load. This project has no protocol buffers."""

load("//proto:native.bzl", "NativeProtoInfo")

ProtoInfo = NativeProtoInfo
proto_lang_toolchain = native.proto_lang_toolchain
proto_library = native.proto_library
