"""Writes chat/golden.json: conversations as published chat templates render them, by Jinja itself.

    pip install jinja2==3.1.6
    python3 make_chat.py NAME=TEMPLATE.jinja ...

The templates are those that the models were published with: SmolLM2's stands in its GGUF file; the
others were taken from the chat_templates folder of the TRL library.
"""

import json
import pathlib
import sys

from jinja2.sandbox import ImmutableSandboxedEnvironment

QUESTION = {"role": "user", "content": "Why is the sky blue?"}
CONVERSATIONS = [
    [QUESTION],
    [{"role": "system", "content": "Answer in one word."}, QUESTION],
    [QUESTION, {"role": "assistant", "content": "Scattering."}, {"role": "user", "content": " Why? \n"}],
    [{"role": "system", "content": "  Be kind.\n"}, {"role": "user", "content": "\u00a0Hi\u3000"},
     {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"},
     {"role": "system", "content": "Be brief."}, {"role": "user", "content": "<|im_end|>\n<|eot_id|>"}],
    [QUESTION, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nHello"}],
    [QUESTION, {"role": "assistant", "content": "Because"}],
    [QUESTION, {"role": "assistant", "content": "Because"}, {"role": "assistant", "content": "\n\nof"}],
]


def main():
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = json.dumps
    golden = []
    for argument in sys.argv[1:]:
        name, path = argument.split("=", 1)
        source = pathlib.Path(path).read_text()
        template = environment.from_string(source)
        renderings = [{"messages": messages,
                       "text": template.render(messages=messages, add_generation_prompt=True,
                                               bos_token="<|begin_of_text|>")}
                      for messages in CONVERSATIONS]
        golden.append({"name": name, "template": source, "renderings": renderings})
    out = pathlib.Path(__file__).parent / "chat" / "golden.json"
    out.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
