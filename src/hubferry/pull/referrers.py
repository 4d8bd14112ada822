"""What refers to a digest, for clients of registries that have lists of it and of those that have tags in their place.

OCI distribution specification, "Listing Referrers" and "Referrers Tag Schema". Each way leads to the other:
`ReferrersLists` answers for a list with the tag in its place, `ReferrersTags` keeps the absence of such a tag as the
absence of a list is kept. Not here: what is kept of lists (lists.py), how the tags are called (core/referrers.py).
"""

from dataclasses import replace

from hubferry.core.errors import Code, OciError
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.referrers import referrers_tag, subject_of
from hubferry.ports.index import BlobIndex
from hubferry.pull.lists import KeptLists
from hubferry.pull.results import Absent, ListResult, ManifestQuery, ManifestResult, ManifestSource, Outcome
from hubferry.pull.rights import Rights, repository_of
from hubferry.remote.lists import ListContent, ListQuery
from hubferry.remote.target import Target

NO_LISTS = frozenset({400, 401, 403, 404, 405})  # what registries without a referrers API answer
NO_REFERRERS = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % OCI_INDEX.encode()


class ReferrersLists:
    """A ListSource for clients that want a referrers API, also where the registry has none.

    Of what is kept and has no list, the tag in the place of the list answers; where that is absent too, an empty list.
    A 404 would send Docker 29 and containerd on to the registry itself, which may be blocked, and end oras, which takes
    a registry that has lists of some digests to have one of each.
    """

    def __init__(self, lists: KeptLists, tags: ManifestSource) -> None:
        """`tags` is asked for the tags that stand in the place of lists."""
        self._lists = lists
        self._tags = tags

    async def find(self, target: Target, query: ListQuery) -> ListResult:
        refusal: OciError | None = None
        try:
            found = await self._lists.find(target, query)
        except OciError as error:
            if error.status not in NO_LISTS or not query.whole:
                raise
            refusal, found = error, ListResult(ListContent(absence=error), Outcome("miss"))
        if found.content.absence is None or not query.whole or not await self._lists.is_held(target, query):
            if refusal is not None:
                raise refusal
            return found
        tag = await self._tags.find(target, ManifestQuery(referrers_tag(query.subject), accept=OCI_INDEX))
        found = replace(found, outcome=_of_both(found.outcome, tag.outcome))
        if isinstance(tag, ManifestResult) and tag.info.media_type == OCI_INDEX and tag.content is not None:
            return replace(found, content=ListContent(tag.content, OCI_INDEX))
        if refusal is not None:
            raise refusal
        return replace(found, content=ListContent(NO_REFERRERS, OCI_INDEX))


def _of_both(of_list: Outcome, of_tag: Outcome) -> Outcome:
    """Return how an answer was found that took a list and the tag in its place: stale if one of them was."""
    if of_tag.failure is None and of_tag.age_s is None:
        return of_list
    is_stale_list = of_list.age_s is not None or bool(of_list.guess)
    older = of_list if is_stale_list else of_tag
    return replace(of_tag, age_s=older.age_s, failure=of_tag.failure or of_list.failure, guess=older.guess)


class ReferrersTags:
    """A ManifestSource that also keeps the absence of the tags that stand for lists of referrers.

    Docker 29 asks for `sha256-HEX` whenever a registry has no answer for the referrers of a digest, and does not pull
    an image when that is refused with anything but 404.
    """

    def __init__(self, manifests: ManifestSource, lists: KeptLists, index: BlobIndex, rights: Rights) -> None:
        """`manifests` is asked for every tag and digest."""
        self._rights = rights
        self._manifests = manifests
        self._lists = lists
        self._index = index

    async def find(self, target: Target, query: ManifestQuery) -> ManifestResult | Absent:
        tag = query.reference
        subject = subject_of(tag)
        if not subject or await self._is_kept(target, tag):
            return await self._manifests.find(target, query)
        name = f"manifests/{tag}"
        of_tag = ListQuery(name, subject=subject, whole=name, unknown=Code.MANIFEST_UNKNOWN)

        async def ask(_: str) -> ManifestResult | Absent | ListResult:
            try:
                found = await self._manifests.find(target, query)
            except OciError as error:
                if error.status != 404:
                    raise
                return ListResult(await self._lists.note_absence(target, of_tag, error), Outcome("miss"))
            await self._index.drop_list(repository_of(target), name)  # it is absent no longer
            return found

        found = await self._lists.find_or_ask(target, of_tag, ask)
        if not isinstance(found, ListResult):
            return found
        if found.content.absence is None:
            raise AssertionError("only the absence of a tag is kept as that of a list")
        return Absent(found.content.absence, found.outcome)

    async def _is_kept(self, target: Target, tag: str) -> bool:
        """Return whether a tag is kept, and was not absent for this caller since it was confirmed."""
        entry = await self._index.tag(repository_of(target), tag)
        return entry is not None and not await self._rights.is_absent(target, tag, entry.confirmed_at)
