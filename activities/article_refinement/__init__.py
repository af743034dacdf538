"""Make an English article easier to read, round by round, as a reviewer wishes.

Everything is done by fixed rules, so the same text and the same wishes give the same text: long
sentences are split, phrases of officials are said plainly, filler is dropped, and on request
sentences in the passive are turned round. What the rules cannot do is said, and left.

    article = read_article("tool_library.md")
    first = refine(article["text"])
    second = refine(first["text"], before=first, feedback="shorter sentences, no passive")
    write_article(read_request("tool_library.md"), article, second)
"""

from activities.article_refinement.measuring import Measures, measure
from activities.article_refinement.records import Article, Request, Revision, Round, Written
from activities.article_refinement.steps import read_article, read_request, refine, write_article
from activities.article_refinement.wishes import Wishes, wishes_after

__all__ = [
    "Article",
    "Measures",
    "Request",
    "Revision",
    "Round",
    "Wishes",
    "Written",
    "measure",
    "read_article",
    "read_request",
    "refine",
    "wishes_after",
    "write_article",
]
