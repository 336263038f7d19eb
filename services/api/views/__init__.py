"""Views: read the data of answers and pages, and put it into structs.

A request body is called ...Request. A part of an answer has the bare noun of what it holds, with Response after it
where the domain or a read model has a struct of that name.
"""
