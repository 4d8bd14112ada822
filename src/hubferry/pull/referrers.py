"""What refers to a digest, for clients of registries that have lists of it and of those that have tags in their place.

OCI distribution specification, "Listing Referrers" and "Referrers Tag Schema". Each way leads to the other:
`ReferrersLists` answers for a list with the tag in its place, `ReferrersTags` keeps the absence of such a tag as the
absence of a list is kept. Not here: what is kept of lists (kept_lists.py), how the tags are called (core/referrers.py).
"""

from hubferry.core.errors import Code, OciError
from hubferry.core.http import Request, get
from hubferry.core.manifest import OCI_INDEX
from hubferry.core.referrers import referrers_tag, subject_of
from hubferry.ports import BlobIndex
from hubferry.pull.answer import Answer, Trail
from hubferry.pull.kept_lists import KeptLists
from hubferry.pull.lists import Listed, Wanted, absence_answer
from hubferry.pull.manifests import ManifestSource
from hubferry.pull.rights import Rights, repository_of
from hubferry.pull.target import Target

NO_LISTS = frozenset({400, 401, 403, 404, 405})  # what registries without a referrers API answer
NO_REFERRERS = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % OCI_INDEX.encode()
_GET = Request("GET", "", "", (("accept", OCI_INDEX),), "http", "", "")


class ReferrersLists:
    """A ListSource for clients that want a referrers API, also where the registry has none.

    Of what is kept and has no list, the tag in the place of the list answers; where that is absent too, an empty list.
    A 404 would send Docker 29 and containerd on to the registry itself, which may be blocked, and end oras, which takes
    a registry that has lists of some digests to have one of each.
    """

    def __init__(self, lists: KeptLists, manifests: ManifestSource) -> None:
        """`manifests` answers for the tags."""
        self._lists = lists
        self._manifests = manifests

    async def find(self, target: Target, wanted: Wanted, trail: Trail) -> Listed:
        """See ListSource."""
        refusal: OciError | None = None
        try:
            listed = await self._lists.find(target, wanted, trail)
        except OciError as error:
            if error.status not in NO_LISTS or not wanted.whole:
                raise
            refusal, listed = error, Listed(absence=error)
        if listed.absence is None or not wanted.whole or not await self._lists.is_held(target, wanted):
            if refusal is not None:
                raise refusal
            return listed
        of_tag = Trail()
        answer = await self._manifests.answer(_GET, target, referrers_tag(wanted.subject), of_tag)
        if of_tag.outcome == "stale":
            trail.outcome, trail.problem = "stale", of_tag.problem
        extra = listed.extra or tuple(line for line in answer.headers if line[0] in ("age", "warning"))
        is_index = get(answer.headers, "content-type") == OCI_INDEX
        if answer.status == 200 and is_index and isinstance(answer.body, bytes):
            return Listed(answer.body, OCI_INDEX, extra=extra)
        if refusal is not None:
            raise refusal
        return Listed(NO_REFERRERS, OCI_INDEX, extra=extra)


class ReferrersTags:
    """A ManifestSource that also keeps the absence of the tags that stand for lists of referrers.

    Docker 29 asks for `sha256-HEX` whenever a registry has no answer for the referrers of a digest, and does not pull
    an image when that is refused with anything but 404.
    """

    def __init__(self, manifests: ManifestSource, lists: KeptLists, index: BlobIndex, rights: Rights) -> None:
        """`manifests` answers for every tag that exists."""
        self._rights = rights
        self._manifests = manifests
        self._lists = lists
        self._index = index

    async def answer(self, request: Request, target: Target, reference: str, trail: Trail) -> Answer:
        """See ManifestSource."""
        subject = subject_of(reference)
        if not subject or await self._is_kept(target, reference):
            return await self._manifests.answer(request, target, reference, trail)
        name = f"manifests/{reference}"
        wanted = Wanted(name, subject=subject, whole=name, unknown=Code.MANIFEST_UNKNOWN)

        async def ask(_: str) -> Answer | Listed:
            try:
                answer = await self._manifests.answer(request, target, reference, trail)
            except OciError as error:
                if error.status != 404:
                    raise
                trail.outcome = "miss"
                return await self._lists.note_absence(target, wanted, error)
            await self._index.drop_list(repository_of(target), name)  # it is absent no longer
            return answer

        found = await self._lists.settle(target, wanted, ask, trail)
        return found if isinstance(found, Answer) else absence_answer(found)

    async def _is_kept(self, target: Target, tag: str) -> bool:
        """Whether a tag is kept, and was not absent for this caller since."""
        entry = await self._index.tag(repository_of(target), tag)
        return entry is not None and not await self._rights.is_absent(target, tag, entry.confirmed_at)
