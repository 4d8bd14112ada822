"""The pages as Jinja templates. A module and not files, because a Worker cannot read files.

Compiled when they are first used: on a Worker the first request pays for it, and a start does not. `t` are the words of
the visitor's language.
"""

from jinja2 import DictLoader, Environment, StrictUndefined

BASE = """\
<!doctype html>
<html lang="{{ t.language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<title>{% block title %}{% endblock %} - hubferry</title>
<link rel="stylesheet" href="{{ style_url }}">
<link rel="icon" href="{{ icon_url }}">
<script src="{{ script_url }}" defer></script>
</head>
<body data-copy="{{ t.copy_it }}" data-copied="{{ t.copied }}" data-not-copied="{{ t.not_copied }}">
<a class="skip" href="#content">{{ t.skip }}</a>
<header class="top"><div class="column">
<a class="brand" href="/">hubferry</a>
<nav aria-label="hubferry">
{%- for path, key in links %}
<a href="{{ path }}"{% if path == here %} aria-current="page"{% endif %}>{{ t[key] }}</a>
{%- endfor %}
</nav>
<a class="language" lang="{{ t.other_language }}" href="{{ language_url }}">{{ t.other_language_name }}</a>
</div></header>
<main id="content" class="column">
{% block content %}{% endblock %}
</main>
<footer><div class="column"><p>{{ t.about }}</p><p>hubferry {{ version }}</p></div></footer>
</body>
</html>
"""

PARTS = """\
{% macro command(text, file="") -%}
{% if file %}<p class="file">{{ file }}</p>{% endif %}<div class="command"><pre tabindex="0"><code>{{ text }}</code></pre></div>
{%- endmacro %}
{% macro badge(text, kind="") -%}
<span class="badge{{ ' ' ~ kind if kind }}">{{ text }}</span>
{%- endmacro %}
{% macro notice(text, kind="") -%}
<div class="notice{{ ' ' ~ kind if kind }}"><p>{{ text }}</p></div>
{%- endmacro %}
"""

HOME = """\
{% extends "base.html" %}
{% from "parts.html" import badge, command, notice %}
{% block title %}{{ t.home_title.format(host=gateway.address) }}{% endblock %}
{% block content %}
<h1>{{ t.home_title.format(host=gateway.address) }}</h1>
<form action="/" method="post" data-live="result">
<label for="text">{{ t.paste }}</label>
<p id="hint" class="quiet small">{{ t.paste_hint }}</p>
<textarea id="text" name="text" rows="1" spellcheck="false" autocapitalize="off" autocomplete="off" aria-describedby="hint" maxlength="{{ max_text }}">{{ text }}</textarea>
<p></p>
<button>{{ t.rewrite }}</button>
</form>
<div id="result" aria-live="polite">{% include "result.html" %}</div>
<h2>{{ t.clients }}</h2>
{% if gateway.has_users %}{{ notice(t.your_secret.format(secret=secret)) }}{% endif %}
{% for guide in guides %}
<details id="{{ guide.id }}" name="client"{% if loop.first %} open{% endif %}>
<summary>{{ guide.title }}</summary>
<div class="inside">
{% if guide.about %}<p>{{ t[guide.about] }}</p>{% endif %}
{% for step in guide.steps %}
<p>{{ t[step.says] }}</p>
{{ command(step.text, step.file) }}
{% if step.after %}<p class="quiet small">{{ t[step.after] }}</p>{% endif %}
{% endfor %}
</div>
</details>
{% endfor %}
<h2>{{ t.registries }}</h2>
<p>{% if only %}{{ t.serves_only.format(registry=registries[0].name) }}{% else %}{{ t.no_registry_means.format(registry=home) }}{% endif %}</p>
<p>{% for registry in registries %}{{ badge(registry.name, "alert" if registry.has_problem else "") }} {% endfor %}</p>
{% for registry in registries if registry.has_problem %}
{{ notice(registry.name ~ ": " ~ t.upstream_down, "alert") }}
{% endfor %}
{% endblock %}
"""

RESULT = """\
{% from "parts.html" import command, notice %}
{% if result %}
<h2>{{ t.rewritten }}</h2>
{% if result.count %}
{{ command(result.text) }}
{% if commands %}<p>{{ t.pull }}</p>{{ command(commands[0]) }}{% if commands[1] %}<p>{{ t.usual_name }}</p>{{ command(commands[1]) }}{% endif %}{% endif %}
{% if result.count > 1 %}<p class="quiet small">{{ t.rewritten_count.format(count=result.count) }}</p>{% endif %}
{% for image in result.images[:max_shown] %}
<p><a href="/image?name={{ image | string | urlencode }}">{{ t.see_image.format(image=image) }}</a></p>
{% endfor %}
{% else %}{{ notice(t.nothing_found) }}{% endif %}
{% if result.left %}{{ notice(t.not_served.format(names=result.left[:max_shown] | join(", ")), "alert") }}{% endif %}
{% endif %}
"""

PROBLEM = """\
{% extends "base.html" %}
{% from "parts.html" import notice %}
{% block title %}{{ t.failed }}{% endblock %}
{% block content %}
<h1>{{ t.failed }}</h1>
{{ notice(problem, "alert") }}
{% endblock %}
"""

ENVIRONMENT = Environment(
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    loader=DictLoader(
        {
            "base.html": BASE,
            "parts.html": PARTS,
            "home.html": HOME,
            "result.html": RESULT,
            "problem.html": PROBLEM,
        }
    ),
)
