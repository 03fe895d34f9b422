"""Chat templates in the styles that model families have, and small tokenizers to go with them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

CHATML = """
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""

# The generation tag, by which trainers find the assistant's words.
MARKED = CHATML.replace(
    "{{ m.content }}<|im_end|>\n",
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}\n\n",
)

# Reasoning only after the last question; an empty block where an answer has none; tools and calls.
QWEN3 = """
{%- if tools -%}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif -%}
# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|im_end|>
{% elif messages[0].role == 'system' -%}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif -%}
{%- set ns = namespace(last=-1) -%}
{%- for m in messages -%}{%- if m.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- for m in messages -%}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) -%}
<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% elif m.role == 'assistant' -%}
{%- set content = m.content -%}
{%- set thought = m.reasoning_content if m.reasoning_content is string else '' -%}
{%- if not thought and '</think>' in content -%}
{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') -%}
{%- set content = content.split('</think>')[-1].lstrip('\n') -%}
{%- endif -%}
<|im_start|>assistant
{% if loop.index0 > ns.last and (loop.last or thought) -%}
<think>
{{ thought.strip('\n') }}
</think>

{% endif -%}
{{ content }}
{%- for call in m.tool_calls or [] -%}
{{ '\n' if content or not loop.first }}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments if
call.function.arguments is string else call.function.arguments | tojson }}}
</tool_call>
{%- endfor -%}
<|im_end|>
{% elif m.role == 'tool' -%}
<|im_start|>user
<tool_response>
{{ m.content }}
</tool_response><|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""

# The text's end after every whole chat, though no prompt has it.
PHI3 = """
{%- for m in messages -%}
<|{{ m.role }}|>
{{ m.content }}<|end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{% else -%}{{ eos_token }}{%- endif -%}
"""

GEMMA2 = """
{{- bos_token -}}
{%- if messages[0].role == 'system' -%}
{{ raise_exception('System role not supported') }}{%- endif -%}
{%- for m in messages -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
{{ raise_exception('Conversation roles must alternate user/assistant') }}{%- endif -%}
<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}
{{ m.content | trim }}<end_of_turn>
{% endfor -%}
{%- if add_generation_prompt -%}<start_of_turn>model
{% endif -%}
"""

MISTRAL = """
{{- bos_token -}}
{%- for m in messages -%}
{%- if m.role == 'user' -%}[INST] {{ m.content }} [/INST]
{%- elif m.role == 'assistant' and m.tool_calls -%}[TOOL_CALLS] [
{%- for call in m.tool_calls -%}
{%- if call.id is not defined or call.id | length != 9 -%}
{{ raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif -%}
{{ call.function | tojson }}{%- endfor -%}]{{ eos_token }}
{%- elif m.role == 'assistant' -%}{{ ' ' + m.content + eos_token }}
{%- elif m.role == 'tool' -%}[TOOL_RESULTS] {{ m.content }} {{ m.tool_call_id }}[/TOOL_RESULTS]
{%- else -%}{{ raise_exception('Only user, assistant and tool roles are supported') }}{%- endif -%}
{%- endfor -%}
"""

LLAMA2 = """
{%- set ns = namespace(system='') -%}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{%- set ns.system = '<<SYS>>\n' + m.content + '\n<</SYS>>\n\n' -%}
{%- elif m.role == 'user' -%}
{{ bos_token + '[INST] ' + ns.system + m.content + ' [/INST]' }}{%- set ns.system = '' -%}
{%- elif m.role == 'assistant' -%}{{ ' ' + m.content + ' ' + eos_token }}
{%- endif -%}
{%- endfor -%}
"""

LLAMA3 = """
{{- bos_token -}}
<|start_header_id|>system<|end_header_id|>

Today: {{ strftime_now('%d %b %Y') }}
{% if messages[0].role == 'system' %}{{ messages[0].content }}{% endif %}
{%- if tools %}{% for tool in tools %}
{{ tool | tojson }}{% endfor %}{% endif %}<|eot_id|>
{%- for m in messages -%}
{%- if not (loop.first and m.role == 'system') -%}
<|start_header_id|>{{ 'ipython' if m.role == 'tool' else m.role }}<|end_header_id|>

{% if m.tool_calls -%}
{%- if m.tool_calls | length != 1 -%}{{ raise_exception('one call at a time') }}{%- endif -%}
{%- set call = m.tool_calls[0].function -%}
{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}
{%- elif m.role == 'tool' -%}{{ m.content | tojson }}
{%- else -%}{{ m.content }}{%- endif -%}<|eot_id|>
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start_header_id|>assistant<|end_header_id|>

{% endif -%}
"""

# Turns under markers that end with the tokenizer's end; nothing at the beginning.
ZEPHYR = """
{%- for m in messages -%}
<|{{ m.role }}|>
{{ m.content + eos_token }}
{% endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{% endif -%}
"""

# Nothing ends an answer.
ALPACA = """
{%- for m in messages -%}
### {{ 'Response' if m.role == 'assistant' else 'Instruction' }}:
{{ m.content }}

{% endfor -%}
{%- if add_generation_prompt -%}### Response:
{% endif -%}
"""

# The prompt opens a thought that no rendered answer has.
DEEPSEEK_R1 = """
{{- bos_token -}}
{%- for m in messages -%}
{%- if m.role == 'system' -%}{{ m.content }}
{%- elif m.role == 'user' -%}<|User|>{{ m.content }}
{%- elif m.role == 'assistant' -%}<|Assistant|>{{ m.content.split('</think>')[-1] + eos_token }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|Assistant|><think>
{% endif -%}
"""

# Words and reasoning in channels.
CHANNELS = """
{%- for m in messages -%}
{%- if m.role == 'assistant' -%}
{%- if m.thinking and loop.last -%}
<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{%- endif -%}
<|start|>assistant<|channel|>final<|message|>{{ m.content }}{{ '<|return|>' if loop.last and not
add_generation_prompt else '<|end|>' }}
{%- else -%}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}
"""

# Content as a list of parts, as templates for pictures and text have it.
PARTS = """
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""

# Tools by name and description only.
BRIEF_TOOLS = """
{%- for tool in tools or [] -%}{{ tool.function.name }}: {{ tool.function.description }}
{% endfor -%}
""" + CHATML.lstrip()

# Calls in the form of OpenAI: arguments are joined as text.
TEXT_ARGUMENTS = """
{%- for m in messages -%}
<|im_start|>{{ m.role }}
{{ m.content }}
{%- for call in m.tool_calls or [] -%}
{{ '<call>' + call.function.name + ' ' + call.function.arguments }}{%- endfor -%}
<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""

CORPUS = [
    "The quick brown fox jumps over the lazy dog. What is the weather in Rome today?",
    "user assistant system tool model Hello. Hi! Bye, see you. Sunny, 21 degrees.",
    "### Instruction: ### Response: one two three four five six seven eight nine ten",
]


@dataclass(frozen=True)
class Style:
    """A template with the tokenizer that a family has for it.

    Attributes:
        template: Jinja source.
        kind: `bytes` (GPT-2's way), `prepend` (a space before every text, as Llama 2) or `first`
            (a space before the first piece only).
        special: control tokens.
        plain: other added tokens.
        bos: beginning of a text, which the tokenizer puts there if `adds_bos`.
        eos: end of a text.
        stops: further tokens at which the model's configuration says that generation stops.
    """

    template: str | None
    kind: str = "bytes"
    special: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    bos: str | None = None
    eos: str | None = "<|endoftext|>"
    adds_bos: bool = False
    stops: tuple[str, ...] = ()


IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
STYLES = {
    "chatml": Style(CHATML, special=IM, eos="<|im_end|>"),
    "chatml_ends_elsewhere": Style(CHATML, special=IM, eos="<|endoftext|>"),
    "marked": Style(MARKED, special=IM, eos="<|im_end|>"),
    "qwen3": Style(
        QWEN3,
        special=IM,
        plain=("<think>", "</think>", "<tool_call>", "</tool_call>"),
        eos="<|im_end|>",
    ),
    "phi3": Style(
        PHI3,
        kind="prepend",
        special=("<s>", "<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"),
        bos="<s>",
        adds_bos=True,
        stops=("<|endoftext|>", "<|end|>"),
    ),
    "phi3_stops_at_eos": Style(
        PHI3, special=("<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
    ),
    "gemma2": Style(
        GEMMA2,
        special=("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        bos="<bos>",
        eos="<eos>",
        adds_bos=True,
        stops=("<eos>", "<end_of_turn>"),
    ),
    "mistral": Style(
        MISTRAL, kind="prepend", special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True
    ),
    "llama2": Style(
        LLAMA2, kind="prepend", special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True
    ),
    "llama2_first": Style(
        LLAMA2, kind="first", special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True
    ),
    "llama3": Style(
        LLAMA3,
        special=(
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|eot_id|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
        ),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        adds_bos=True,
        stops=("<|end_of_text|>", "<|eot_id|>"),
    ),
    "zephyr": Style(
        ZEPHYR, kind="prepend", special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True
    ),
    "zephyr_first": Style(
        ZEPHYR, kind="first", special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True
    ),
    "alpaca": Style(ALPACA, special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True),
    "alpaca_prepend": Style(
        ALPACA, kind="prepend", special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True
    ),
    "deepseek_r1": Style(
        DEEPSEEK_R1,
        special=("<|bos|>", "<|eos|>", "<|User|>", "<|Assistant|>"),
        plain=("<think>", "</think>"),
        bos="<|bos|>",
        eos="<|eos|>",
        adds_bos=True,
    ),
    "channels": Style(
        CHANNELS,
        special=("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
        eos="<|return|>",
    ),
    "none": Style(None, special=("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True),
}


def build(style: Style, texts: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A tokenizer of the style, with `stop_ids` as the loader of base models sets them."""
    special = list(style.special) or [token for token in (style.bos, style.eos) if token]
    exact = _bytes(special, texts) if style.kind == "bytes" else _sentencepiece(style, texts)
    exact.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    exact.add_tokens([AddedToken(token, normalized=False) for token in style.plain])
    if style.adds_bos and style.bos:
        begin = (style.bos, exact.token_to_id(style.bos))
        exact.post_processor = processors.TemplateProcessing(
            single=f"{style.bos} $A", pair=f"{style.bos} $A $B", special_tokens=[begin]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=exact, bos_token=style.bos, eos_token=style.eos
    )
    tokenizer.chat_template = style.template
    tokenizer.stop_ids = tuple(exact.token_to_id(token) for token in style.stops)
    return tokenizer


def _bytes(special: list[str], texts: Sequence[str]) -> Tokenizer:
    exact = Tokenizer(models.BPE())
    exact.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    exact.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    exact.train_from_iterator([*CORPUS, *texts], trainer)
    return exact


def _sentencepiece(style: Style, texts: Sequence[str]) -> Tokenizer:
    learned = Tokenizer(models.BPE(unk_token="<unk>"))
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", *style.special], show_progress=False
    )
    words = [f"▁{word}" for text in [*CORPUS, *texts] for word in text.split()]
    learned.train_from_iterator(words, trainer)
    model = json.loads(learned.to_str())["model"]
    vocabulary = model["vocab"]
    # What is no piece is read byte by byte; these are ordinary pieces.
    for piece in ["▁", *(f"<0x{i:02X}>" for i in range(256))]:
        vocabulary.setdefault(piece, len(vocabulary))
    merges = [tuple(pair) for pair in model["merges"]]
    exact = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    if style.kind == "prepend":
        exact.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        exact.pre_tokenizer = None
    else:
        exact.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    exact.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return exact
