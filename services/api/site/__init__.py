"""The site in HTML: pages, the rule lab, templates and static files."""
