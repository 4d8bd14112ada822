"""The pages as Jinja templates. A module and not files, because a Worker cannot read files.

Compiled when they are first used: on a Worker the first request pays for it, and a start does not. `t` are the words of
the visitor's language.
"""

from jinja2 import DictLoader, Environment, StrictUndefined

from hubferry.core.human import human_time
from hubferry.pages.figures import ago, machine_date, shown_count, shown_date, shown_share, shown_size
from hubferry.pages.status_templates import FIGURES, KEPT, STATUS

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
<a href="{{ path }}"{% if path == this_path %} aria-current="page"{% endif %}>{{ t[key] }}</a>
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
{% macro time(moment, now, language) -%}
<time datetime="{{ moment | machine_date }}" title="{{ moment | date }}">{{ moment | ago(now, language) }}</time>
{%- endmacro %}
{% macro job(one, t) -%}
<p>{{ one.image }} {{ badge(t["job_" ~ one.state], "alert" if one.state == "failed" else "good" if one.state == "done" else "") }}</p>
{% if one.state == "running" %}<progress aria-label="{{ one.image }}" max="{{ [one.size_bytes, 1] | max }}" value="{{ one.at_bytes }}"></progress>{% endif %}
{% if one.size_bytes %}<p class="quiet small">{{ one.at_bytes | size }} / {{ one.size_bytes | size }}</p>{% endif %}
{% if one.problem %}<p class="small" lang="en">{{ one.problem }}</p>{% endif %}
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

SEARCH = """\
{% extends "base.html" %}
{% from "parts.html" import badge, notice %}
{% block title %}{{ q or t.search }}{% endblock %}
{% block content %}
<h1>{{ t.search }}</h1>
{% if registries %}
<form action="/search" method="get" role="search">
<div class="row">
<div class="grow"><label for="q">{{ t.search_words }}</label><input type="search" id="q" name="q" value="{{ q }}" maxlength="100" autocomplete="off"></div>
<div><label for="registry">{{ t.registry }}</label><select id="registry" name="registry">
{% for name in registries %}
<option{% if name == registry %} selected{% endif %}>{{ name }}</option>
{% endfor %}
</select></div>
<div><button>{{ t.search }}</button></div>
</div>
</form>
{% else %}{{ notice(t.no_search) }}{% endif %}
{% if problem %}{{ notice(problem, "alert") }}{% endif %}
{% if is_kept %}<p>{{ t.search_kept }}</p>{% endif %}
{% if found %}
{% if not problem %}<p class="quiet small">{{ t.search_total.format(total=total | count) }}</p>{% endif %}
<ul class="plain">
{% for one in found %}
<li>
<p><a href="/image?name={{ one.name | urlencode }}">{{ one.shown }}</a>
{% if one.hit.is_official %}{{ badge(t.official, "good") }}{% endif %}
{% if one.hit.is_verified %}{{ badge(t.verified, "good") }}{% endif %}</p>
{% if one.hit.description %}<p class="quiet">{{ one.hit.description }}</p>{% endif %}
{% if one.hit.stars is not none or one.hit.pulls is not none %}
<p class="quiet small">{% if one.hit.stars is not none %}{{ t.stars.format(count=one.hit.stars | count) }}{% endif %}{% if one.hit.pulls is not none %} · {{ t.pulls.format(count=one.hit.pulls | count) }}{% endif %}</p>
{% endif %}
</li>
{% endfor %}
</ul>
<p class="row">
{% if number > 1 %}<a class="button plain" rel="prev" href="{{ here_with(page=number - 1) }}">{{ t.previous }}</a>{% endif %}
{% if has_more %}<a class="button plain" rel="next" href="{{ here_with(page=number + 1) }}">{{ t.next }}</a>{% endif %}
</p>
{% elif q and not problem %}{{ notice(t.search_nothing.format(words=q, registry=registry)) }}{% endif %}
{% endblock %}
"""

TAGS = """\
{% extends "base.html" %}
{% from "parts.html" import badge, command, notice, time %}
{% block title %}{{ image }}{% endblock %}
{% block content %}
<h1>{{ image }}</h1>
{{ command("docker pull " ~ here) }}
{% if problem %}{{ notice(problem, "alert") }}{% endif %}
<h2>{{ t.tags }} <span class="quiet small">{{ count | count }}{% if is_cut %}+{% endif %}</span></h2>
<form action="/image" method="get">
<input type="hidden" name="name" value="{{ image }}">
<div class="row">
<div class="grow"><label for="filter">{{ t.filter }}</label><input type="search" id="filter" name="filter" value="{{ filter }}" maxlength="128" autocomplete="off"></div>
<div><label for="order">{{ t.order }}</label><select id="order" name="order">
{% for name in orders %}
<option value="{{ name }}"{% if name == order %} selected{% endif %}>{{ t["order_" ~ name] }}</option>
{% endfor %}
</select></div>
<div><button>{{ t.show }}</button></div>
</div>
</form>
{% if tags %}
<div class="frame"><table>
<thead><tr><th scope="col">{{ t.tag }}</th><th scope="col">{{ t.kept_here }}</th><th scope="col">{{ t.confirmed }}</th></tr></thead>
<tbody>
{% for tag in tags %}
<tr><td><a href="/image?name={{ tag.image | urlencode }}">{{ tag.name }}</a></td>
<td class="short">{% if tag.is_kept %}{{ badge(t.kept, "good") }}{% else %}-{% endif %}</td>
<td class="short">{% if tag.confirmed_at is not none %}{{ time(tag.confirmed_at, now, language) }}{% else %}-{% endif %}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% if pages > 1 %}
<p class="row">
{% if number > 1 %}<a class="button plain" rel="prev" href="{{ here_with(page=number - 1) }}">{{ t.previous }}</a>{% endif %}
<span class="quiet">{{ t.page_of.format(number=number, pages=pages) }}</span>
{% if number < pages %}<a class="button plain" rel="next" href="{{ here_with(page=number + 1) }}">{{ t.next }}</a>{% endif %}
</p>
{% endif %}
{% else %}{{ notice(t.no_tags) }}{% endif %}
{% endblock %}
"""

IMAGE = """\
{% extends "base.html" %}
{% from "parts.html" import badge, command, notice, time %}
{% block title %}{{ image }}{% endblock %}
{% block content %}
<h1>{{ image }}</h1>
<p>{{ badge(t[state], "good" if state == "kept" else "") }}
{% if details.kind != "image" %}{{ badge(details.kind) }}{% endif %}
<a href="/image?name={{ repository | urlencode }}">{{ t.all_tags }}</a></p>
{% for problem in problems %}{{ notice(problem, "alert") }}{% endfor %}
{{ command("docker pull " ~ here) }}
<dl class="facts">
<dt>{{ t.digest }}</dt><dd><code>{{ details.digest }}</code></dd>
{% if details.kept_since %}<dt>{{ t.kept_since }}</dt><dd>{{ time(details.kept_since, now, language) }}</dd>{% endif %}
{% if details.confirmed_at %}<dt>{{ t.confirmed }}</dt><dd>{{ time(details.confirmed_at, now, language) }}</dd>{% endif %}
{% if platform and platform.created_at %}<dt>{{ t.created }}</dt><dd>{{ time(platform.created_at, now, language) }}</dd>{% endif %}
{% if platform and platform.size_bytes %}<dt>{{ t.size }}</dt><dd>{{ platform.size_bytes | size }}</dd>{% endif %}
</dl>
{% if details.kind == "image" %}
<details>
<summary>{{ t.download }}</summary>
<div class="inside">
<form action="/download" method="get">
<input type="hidden" name="image" value="{{ image }}">
<div class="row">
<div class="grow"><label for="platform">{{ t.platform }}</label><select id="platform" name="platform">
{% for one in details.platforms if one.platform %}
<option{% if chosen and one.digest == chosen.digest %} selected{% endif %}>{{ one.platform }}</option>
{% endfor %}
<option>all</option>
</select></div>
<div><button>{{ t.download_it }}</button></div>
</div>
</form>
<p>{{ t.download_use }}</p>
{{ command("docker load -i FILE.tar") }}
<p class="quiet small">{{ t.download_resume }}</p>
</div>
</details>
{% endif %}
{% if details.is_index %}
<h2>{{ t.platforms }}</h2>
<div class="frame"><table>
<thead><tr><th scope="col">{{ t.platform }}</th><th scope="col" class="number">{{ t.size }}</th><th scope="col">{{ t.digest }}</th></tr></thead>
<tbody>
{% for one in details.platforms %}
<tr><td class="short">{% if chosen and one.digest == chosen.digest %}<strong>{{ one.platform or "-" }}</strong>{% else %}<a href="{{ here_with(platform=one.digest) }}">{{ one.platform or one.digest[:19] }}</a>{% endif %}</td>
<td class="number">{{ (platform.size_bytes if platform and chosen and one.digest == chosen.digest else one.size_bytes) | size }}</td>
<td><code>{{ one.digest[:19] }}</code></td></tr>
{% endfor %}
</tbody>
</table></div>
{% if details.is_cut %}{{ notice(t.more_platforms) }}{% endif %}
{% endif %}
{% if platform %}
<h2>{{ t.layers }}{% if platform.platform %} <span class="quiet small">{{ platform.platform }}</span>{% endif %}</h2>
<div class="frame"><table>
<thead><tr><th scope="col" class="number">#</th><th scope="col">{{ t.made_by }}</th><th scope="col" class="number">{{ t.size }}</th><th scope="col">{{ t.kept_here }}</th></tr></thead>
<tbody>
{% for layer in platform.layers %}
<tr><td class="number">{{ loop.index }}</td><td><code>{{ layer.command or layer.digest[:19] }}</code></td>
<td class="number">{{ layer.size_bytes | size }}</td><td class="short">{% if layer.is_kept %}{{ badge(t.kept, "good") }}{% else %}-{% endif %}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% if platform.config %}
<details>
<summary>{{ t.config }}</summary>
<div class="inside"><dl class="facts">
{% for name, value in [("entrypoint", platform.config.entrypoint), ("command", platform.config.command)] if value %}
<dt>{{ t[name] }}</dt><dd><code>{{ value | join(" ") }}</code></dd>
{% endfor %}
{% if platform.config.user %}<dt>{{ t.user }}</dt><dd><code>{{ platform.config.user }}</code></dd>{% endif %}
{% if platform.config.working_folder %}<dt>{{ t.folder }}</dt><dd><code>{{ platform.config.working_folder }}</code></dd>{% endif %}
{% for name, values in [("ports", platform.config.exposed_ports), ("volumes", platform.config.volumes)] if values %}
<dt>{{ t[name] }}</dt><dd><code>{{ values | join(" ") }}</code></dd>
{% endfor %}
{% if platform.config.environment %}<dt>{{ t.environment }}</dt><dd>{% for one in platform.config.environment %}<code>{{ one }}</code><br>{% endfor %}</dd>{% endif %}
{% for key, value in platform.config.labels %}
<dt>{{ key }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl></div>
</details>
{% endif %}
{% endif %}
{% if referrers or details.attestations %}
<h2>{{ t.referrers }}</h2>
<div class="frame"><table>
<thead><tr><th scope="col">{{ t.kind }}</th><th scope="col">{{ t.digest }}</th><th scope="col" class="number">{{ t.size }}</th></tr></thead>
<tbody>
{% for one in referrers %}
<tr><td>{{ one.kind }}</td><td><code>{{ one.tag or one.digest[:19] }}</code></td><td class="number">{{ one.size_bytes | size }}</td></tr>
{% endfor %}
{% for one in details.attestations %}
<tr><td>{{ t.attestation }}</td><td><code>{{ one.digest[:19] }}</code></td><td class="number">{{ one.size_bytes | size }}</td></tr>
{% endfor %}
</tbody>
</table></div>
{% endif %}
{% endblock %}
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
            "search.html": SEARCH,
            "tags.html": TAGS,
            "image.html": IMAGE,
            "problem.html": PROBLEM,
            "status.html": STATUS,
            "figures.html": FIGURES,
            "kept.html": KEPT,
        }
    ),
)
ENVIRONMENT.filters.update(
    size=shown_size,
    count=shown_count,
    date=shown_date,
    machine_date=machine_date,
    ago=ago,
    percent=shown_share,
    duration=human_time,
)
