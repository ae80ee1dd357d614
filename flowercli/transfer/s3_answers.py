"""What an S3 server means when it refuses, by its code: for archives that are fetched and for DVC's remotes."""

from __future__ import annotations

from collections.abc import Iterable

PLACES = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, ~/.aws/credentials, or an instance role"
CHECK_ADDRESS = (
    "Check the address: flowers data init --remote s3://BUCKET/PREFIX --endpoint-url URL; for downloads, "
    "AWS_ENDPOINT_URL_S3"
)
LATER = "Run the command again later: it goes on."
NOT_S3 = ("{where}: what answers there is not an S3 server.", CHECK_ADDRESS)
# The codes, HTTP's numbers among them, which are all that the answer to a HEAD request has; what is wrong, and what to
# do. {where} is what was asked for.
MEANINGS = (
    ("NoSuchBucket", "There is no such bucket: {where}.", f"Make it, or correct its name. {CHECK_ADDRESS}"),
    ("NoSuchKey", "The bucket has no such object: {where}.", "Check the path: aws s3 ls s3://BUCKET/PATH/"),
    (
        "AccessDenied AllAccessDisabled 403",
        "Access to {where} is denied: the bucket is private, and these credentials may not use it.",
        "Ask its owner for s3:ListBucket, s3:GetObject and s3:PutObject, or choose other credentials: AWS_PROFILE=NAME",
    ),
    (
        "InvalidAccessKeyId InvalidToken InvalidClientTokenId",
        "{where} does not know the access key: it belongs to another server, or was deleted.",
        f"Check the credentials ({PLACES}) and the endpoint.",
    ),
    (
        "SignatureDoesNotMatch",
        "{where} refuses the secret key: it does not belong to the access key.",
        f"Check the credentials: {PLACES}.",
    ),
    (
        "ExpiredToken ExpiredTokenException TokenRefreshRequired",
        "The credentials for {where} have expired.",
        "Log in again, for example: aws sso login",
    ),
    ("RequestTimeTooSkewed", "{where} refuses the request: this machine's clock is wrong.", "Set the clock."),
    (
        "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301",
        "{where} is in another region than the one that was asked.",
        "Set the region: AWS_REGION=REGION, or dvc remote modify REMOTE region REGION",
    ),
    ("SlowDown ServiceUnavailable TooManyRequests 429 503", "{where} is overloaded and asks to slow down.", LATER),
    ("InternalError 502 504", "{where} failed inside: it is the server's fault.", LATER),
    # botocore makes a 500 of an answer that it cannot read, such as the web page of the server's console.
    (
        "500",
        "{where} does not answer as an S3 server does: it is none, or it fails inside.",
        f"A server's web page often has another port than its S3. {CHECK_ADDRESS}",
    ),
    ("NotImplemented MethodNotAllowed 200 404 405 501", *NOT_S3),
)


def meaning(codes: Iterable[object]) -> tuple[str, str] | None:
    """Return what is wrong and what to do, of the first of some codes that is known; ``None`` if none is."""
    for code in codes:
        for known, message, hint in MEANINGS:
            if str(code) in known.split():
                return message, hint
    return None
