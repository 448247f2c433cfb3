"""What the Hub refuses, in the words of this package: thing, value, mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from rankone.core.errors import RankOneError, first_line
from rankone.sharing.names import Remote


@contextmanager
def asking(where: Remote) -> Iterator[None]:
    """Turn what goes wrong on the way to a repository into a RankOneError that names it."""
    try:
        yield
    except GatedRepoError as error:
        raise RankOneError(
            f"'{where}' is gated: ask for access on its page, then log in (hf auth login)."
        ) from error
    except RevisionNotFoundError as error:
        raise RankOneError(
            f"'{where.repo}' has no revision '{where.revision}'. Check it on its page."
        ) from error
    except RepositoryNotFoundError as error:
        raise RankOneError(
            f"'{where}' is private or does not exist. Check the name, and log in (hf auth login, or HF_TOKEN)."
        ) from error
    except EntryNotFoundError as error:
        raise RankOneError(
            f"'{where}' holds no RankOne artefact (no manifest.json). Check the name."
        ) from error
    except (LocalTokenNotFoundError, HFValidationError) as error:
        raise RankOneError(
            f"'{where}': {str(error).splitlines()[0]} Log in with hf auth login, or check the name."
        ) from error
    except HfHubHTTPError as error:
        raise _status(where, error) from error
    except (httpx2.HTTPError, RuntimeError) as error:  # the client wraps what breaks an upload in the latter
        if isinstance(error.__cause__, HfHubHTTPError):
            raise _status(where, error.__cause__) from error
        raise RankOneError(
            f"the way to '{where}' broke off ({type(error).__name__}). Run the same command again: what is there already is "
            "not sent twice."
        ) from error


def _status(where: Remote, error: HfHubHTTPError) -> RankOneError:
    status = error.response.status_code if error.response is not None else None
    if status == 401:
        return RankOneError(
            f"'{where}': the Hub does not know who you are. Log in (hf auth login, or HF_TOKEN)."
        )
    if status == 403:
        return RankOneError(f"'{where}': your token may not do this. Use one with write access to it.")
    said = first_line(error)[:200]
    return RankOneError(
        f"the Hub did not do what was asked of '{where}' ({said}). Run the same command again later."
    )
