"""Every knob, with the embedded defaults: all of Heliograph in one process, data in `./var`.

Each is read from the environment variable `HELIOGRAPH_<NAME>`. A bad value stops the start with one line that names it.
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.provider_rates import ProviderRate, parse_rates
from api.setting_rules import allowed_host, host_and_port, known_providers, origin, with_scheme
from domain.deliver import LEASE_MARGIN
from domain.errors import ConfigurationError
from domain.recipient import email_problem
from domain.retry import DEFAULT_SCHEDULE, AfterUnknown, RetryPolicy

PREFIX = "HELIOGRAPH_"
MAX_REPLAY_RATE = 1_000
"""A second; what is faster needs no pace."""
MAX_DAYS = 36_500
SPARE_LEASE = LEASE_MARGIN + 0.5
"""Seconds of a lease beside the call's deadline: with no time between claim and call, every claim is handed back."""
Names = Annotated[tuple[str, ...], NoDecode]
Seconds = Annotated[tuple[float, ...], NoDecode]
Rates = Annotated[dict[str, ProviderRate], NoDecode]
EMAIL_PROVIDERS = frozenset({"smtp", "sendgrid", "mailgun"})
PUSH_PROVIDERS = frozenset({"fcm", "onesignal"})
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


class Settings(BaseSettings):
    """The settings of one process."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = Field("127.0.0.1", description="The address that every role's HTTP listens on.")
    port: int = Field(8000, ge=0, le=65535, description="The port of every role's HTTP. `PORT` sets it too.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="JSON lines, or text for people. `auto`: text on a terminal and for `up`."
    )
    otlp_url: str | None = Field(
        None, description="Where spans go: a collector that takes OTLP over HTTP, such as `http://collector:4318`."
    )
    trace_sample: float = Field(1.0, ge=0, le=1, description="The share of traces begun here that is recorded, 0 to 1.")
    var_dir: str = Field("var", description="Where `up` keeps its databases and the development key.")

    broker_url: str = Field("memory://", description="The broker: `memory://` or `amqp://…`.")
    feed_url: str = Field("memory://", description="The pub/sub of the live feed: `memory://` or `redis://…`.")
    cache_url: str = Field("memory://", description="The shared cache: `memory://` or `redis://…`.")
    gateway_database_url: str | None = Field(None, description="`sqlite://path` or `postgres://…`.")
    users_database_url: str | None = Field(None, description="`sqlite://path` or `postgres://…`.")
    templates_database_url: str | None = Field(None, description="`sqlite://path` or `postgres://…`.")
    database_pool: int = Field(20, ge=2, le=200, description="Connections per PostgreSQL database and process.")

    users_url: str | None = Field(None, description="Where the User Service is; left out, it is in this process.")
    templates_url: str | None = Field(None, description="Where the Template Service is; likewise.")
    discovery_url: str | None = Field(
        None, description="`redis://…`: services register there and are found there, where no URL names them."
    )
    advertise_url: str | None = Field(
        None, description="Where others reach this instance; left out, the host's name and the port."
    )
    service_token: str | None = Field(None, min_length=16, description="What services show each other.")
    api_key: str | None = Field(None, description="An API key with all scopes that the gateway sees to at its start.")
    secret: str | None = Field(
        None,
        min_length=32,
        description="What suppressed addresses and return paths are hashed and links signed with; left out, it is the "
        "service token. Never change it.",
    )
    jwt_secret: str | None = Field(
        None, min_length=32, description="The HS256 secret of the tokens that end users come with; `sub` is the user."
    )
    jwks_url: str | None = Field(None, description="Where the public keys of such tokens are; instead of a secret.")
    jwt_audience: str | None = Field(None, description="The `aud` that such tokens must have.")
    jwt_issuer: str | None = Field(None, description="The `iss` that such tokens must have.")
    rate_limit: str = Field(
        "60000/minute",
        description="Operations of one key or end user: `1000/second`, `60000/minute`, `…/hour`, or `off`.",
    )
    subscriptions_per_key: int = Field(20_000, ge=1, description="Open subscriptions of one API key at one gateway.")
    subscriptions_per_user: int = Field(100, ge=1, description="Open subscriptions of one end user at one gateway.")
    allowed_origins: Names = Field(
        (),
        description="Pages of other origins that may call `/graphql`, with commas: `https://shop.example`; `*` is any.",
    )

    public_url: str | None = Field(
        None, description="Where recipients reach the gateway: `https://…`. With it, mails carry a link to unsubscribe."
    )
    transactional_categories: Names = Field(
        (), description="Categories whose mails carry no such link, with commas: receipts, say. CRITICAL never does."
    )
    sendgrid_webhook_key: str | None = Field(
        None, description="The verification key of SendGrid's signed event webhook; opens `/webhooks/sendgrid`."
    )
    mailgun_signing_key: str | None = Field(
        None, description="Mailgun's webhook signing key; opens `/webhooks/mailgun`."
    )
    onesignal_webhook_secret: str | None = Field(
        None,
        min_length=16,
        description="What OneSignal's event stream shows as `Authorization: Bearer …`; opens `/webhooks/onesignal`.",
    )
    webhook_skew_seconds: float = Field(
        300.0, gt=0, description="How far a webhook's signed timestamp may be from this machine's clock."
    )

    playground: bool = Field(True, description="GraphiQL for browsers at `/graphql`.")
    introspection: bool = Field(True, description="Whether clients with a key may ask for the schema.")
    field_suggestions: bool = Field(True, description='Whether errors say "Did you mean …?".')
    graphql_tokens: int = Field(2_000, ge=100, le=20_000, description="Tokens that a GraphQL document may have.")
    graphql_depth: int = Field(12, ge=3, le=50, description="Fields within fields that it may have.")
    graphql_cost: int = Field(
        10_000, ge=100, description="What it may cost: its fields times the items of the lists that they are in."
    )
    trusted_documents: str | None = Field(
        None, description="Path of a manifest of documents that clients name by id; each is checked at the start."
    )
    trusted_documents_only: bool = Field(False, description="Strict mode: nothing but the documents of the manifest.")

    email_providers: Names = Field(
        ("smtp",), description="In order of preference, with commas: `smtp`, `sendgrid`, `mailgun`."
    )
    smtp_url: str | None = Field(None, description="`smtp://user:password@host:587`; `up` has a mailbox of its own.")
    smtp_pool: int = Field(20, ge=1, le=1000, description="Connections to the SMTP server per worker.")
    sendgrid_api_key: str | None = Field(None, repr=False, description="A key that may send mail.")
    sendgrid_url: str = Field(
        "https://api.sendgrid.com", description="Where SendGrid is; `https://api.eu.sendgrid.com` for the EU."
    )
    mailgun_api_key: str | None = Field(None, repr=False, description="The account's key, or the domain's own.")
    mailgun_domain: str | None = Field(None, description="The domain at Mailgun that mail is sent from.")
    mailgun_url: str = Field(
        "https://api.mailgun.net", description="Where Mailgun is; `https://api.eu.mailgun.net` for the EU."
    )
    provider_rates: Rates = Field(
        {},
        description="Mails a worker process may send: `sendgrid:600/minute,smtp:20/second`; others have no limit.",
    )
    email_from: str = Field("heliograph@sandbox.heliograph.test", description="The address that mail is from.")
    email_from_name: str | None = Field("Heliograph", description="The name that mail is from.")
    email_reply_to: str | None = Field(None, description="Where answers to mail go; left out, where it is from.")
    bounce_address: str | None = Field(
        None, description="Where bounces come back to: `bounces@example.com` makes `bounces+ntf_…@example.com`."
    )
    bounce_listen: str | None = Field(
        None, description="`host:port` where the bounce listener takes them by SMTP or LMTP; `up` has one if it is set."
    )
    dkim_domain: str | None = Field(None, description="The domain that mail by SMTP is signed for (DKIM).")
    dkim_selector: str | None = Field(
        None, description="The name of the key: it is at `<selector>._domainkey.<domain>`."
    )
    dkim_key_file: str | None = Field(
        None, validate_default=True, description="Path of the private key in PEM: RSA or Ed25519."
    )
    attachment_hosts: Names = Field(
        (),
        description="Hosts that attachments may come from beside those of the public internet, by http too, with "
        "commas: `files.internal`, `127.0.0.1:9000`. For the gateway and the Email Service.",
    )
    attachment_max_bytes: int = Field(10_000_000, ge=1, le=100_000_000, description="Bytes of one attachment at most.")
    attachments_max_bytes: int = Field(
        20_000_000, ge=1, le=100_000_000, description="Bytes of all attachments of one mail at most."
    )
    push_providers: Names = Field(("fcm",), description="In order of preference, with commas: `fcm`, `onesignal`.")
    fcm_project: str = Field("heliograph-sandbox", description="The Firebase project.")
    fcm_credentials: str | None = Field(None, description="Path of the service account's JSON file.")
    fcm_url: str | None = Field(None, description="Another FCM endpoint, without credentials: the sandbox.")
    verify_tokens: bool = Field(False, description="The User Service asks FCM about a token that is registered.")
    onesignal_app_id: str | None = Field(None, description="The OneSignal app, a UUID.")
    onesignal_api_key: str | None = Field(None, description="Its App API key.", repr=False)
    onesignal_url: str | None = Field(None, description="Another endpoint that speaks OneSignal's REST API.")

    retry_schedule: Seconds = Field(DEFAULT_SCHEDULE, description="The waits between attempts, in seconds.")
    after_unknown: AfterUnknown = Field(AfterUnknown.RESEND, description="When the outcome is unknown: resend or hold.")
    lease_seconds: float = Field(60.0, gt=0, description="How long a claim holds.")
    delivery_deadline_seconds: float = Field(20.0, gt=0, description="How long one delivery attempt may take.")
    redrive_seconds: float = Field(30.0, gt=0, description="When a published notification is published again.")
    worker_concurrency: int = Field(
        200, ge=1, le=10_000, description="Notifications that one worker has in hand at most."
    )
    dispatch_poll_seconds: float = Field(0.25, gt=0, description="How often the dispatcher looks without a nudge.")
    dispatch_window: int = Field(100, ge=1, description="Messages that may wait in a delivery queue.")
    replay_rate: int = Field(
        50, ge=1, le=MAX_REPLAY_RATE, description="Dead letters a second that are given back where many are replayed."
    )
    retention_days: int = Field(
        90, ge=0, le=MAX_DAYS, description="Days that finished requests and the status log are kept; 0: for ever."
    )
    dead_letter_retention_days: int = Field(
        90, ge=0, le=MAX_DAYS, description="Days that dead letters are kept, and what they are about; 0: for ever."
    )
    drain_seconds: float = Field(25.0, gt=0, description="How long a stop waits for what is in flight.")
    breaker_failures: int = Field(5, ge=1, description="Failures in a row that open a provider's breaker.")
    breaker_reset_seconds: float = Field(30.0, gt=0, description="How long an open breaker waits for its probe.")

    sandbox_smtp_url: str | None = Field(
        None,
        description="Where mail of test keys goes, for gateway and Email Service; `up` has a mailbox of its own.",
    )
    sandbox_fcm_url: str | None = Field(
        None,
        description="Where push of test keys goes, for gateway and Push Service; `up` has its own endpoint.",
    )
    sandbox_smtp_port: int = Field(0, ge=0, le=65535, description="The sandbox mailbox's port; 0 takes a free one.")

    @field_validator("trusted_documents_only")
    @classmethod
    def _strict(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not info.data.get("trusted_documents"):
            raise ValueError("needs HELIOGRAPH_TRUSTED_DOCUMENTS, or nothing at all could be asked for")
        return value

    @field_validator(
        "email_providers",
        "push_providers",
        "allowed_origins",
        "transactional_categories",
        "attachment_hosts",
        mode="before",
    )
    @classmethod
    def _names(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("retry_schedule", mode="before")
    @classmethod
    def _waits(cls, value: Any) -> Any:
        return tuple(float(part) for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("provider_rates", mode="before")
    @classmethod
    def _rates(cls, value: Any) -> Any:
        return parse_rates(value, EMAIL_PROVIDERS) if isinstance(value, str) else value

    @field_validator("sendgrid_api_key", "mailgun_api_key")
    @classmethod
    def _key(cls, value: str | None) -> str | None:
        if value is not None and not (value.isascii() and value.isprintable()):
            raise ValueError("holds characters that no key has")
        return value

    @field_validator("mailgun_domain")
    @classmethod
    def _domain(cls, value: str | None) -> str | None:
        if value is not None and not _DOMAIN.fullmatch(value):
            raise ValueError("must be a domain name in ASCII, such as mg.example.com")
        return value

    @field_validator("email_providers")
    @classmethod
    def _email_provider(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_providers(value, EMAIL_PROVIDERS)

    @field_validator("email_from", "email_reply_to", "bounce_address")
    @classmethod
    def _mailbox(cls, value: str | None) -> str | None:
        if value is not None and (problem := email_problem(value)) is not None:
            raise ValueError(f"the address {problem}")
        return value

    @field_validator("bounce_listen")
    @classmethod
    def _listen(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not info.data.get("bounce_address"):
            raise ValueError("needs HELIOGRAPH_BOUNCE_ADDRESS, or nothing would come")
        if value is not None:
            host_and_port(value)
        return value

    @field_validator("dkim_key_file")
    @classmethod
    def _dkim(cls, value: str | None, info: ValidationInfo) -> str | None:
        given = [info.data.get("dkim_domain"), info.data.get("dkim_selector"), value]
        if any(given) and not all(given):
            raise ValueError(
                "is set together with HELIOGRAPH_DKIM_DOMAIN and HELIOGRAPH_DKIM_SELECTOR, or none of them"
            )
        return value

    @field_validator("push_providers")
    @classmethod
    def _push_provider(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_providers(value, PUSH_PROVIDERS)

    @field_validator("attachment_hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(allowed_host, value))

    @field_validator("allowed_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(origin, value))

    @field_validator("delivery_deadline_seconds")
    @classmethod
    def _deadline(cls, value: float, info: ValidationInfo) -> float:
        if (lease := info.data.get("lease_seconds")) is not None and lease < value + SPARE_LEASE:
            raise ValueError(f"must be {SPARE_LEASE:g} s shorter than HELIOGRAPH_LEASE_SECONDS, which is {lease:g}")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: str) -> str:
        return with_scheme(value, ("memory://", "amqp://", "amqps://"))

    @field_validator("feed_url", "cache_url")
    @classmethod
    def _redis(cls, value: str) -> str:
        return with_scheme(value, ("memory://", "redis://", "rediss://"))

    @field_validator("rate_limit")
    @classmethod
    def _rate(cls, value: str) -> str:
        return "" if value == "off" else value

    @field_validator("discovery_url")
    @classmethod
    def _registry(cls, value: str | None) -> str | None:
        return value if value is None else with_scheme(value, ("redis://", "rediss://"))

    @field_validator(
        "advertise_url",
        "otlp_url",
        "users_url",
        "templates_url",
        "jwks_url",
        "public_url",
        "sendgrid_url",
        "mailgun_url",
        "onesignal_url",
    )
    @classmethod
    def _web_address(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(with_scheme(value, ("http://", "https://")))
            if not parts.hostname or parts.port == 0:  # a port that cannot be raises ValueError by itself
                raise ValueError("must name a host")
        return value

    @property
    def bounce_endpoint(self) -> tuple[str, int] | None:
        """Host and port of `bounce_listen`."""
        return None if self.bounce_listen is None else host_and_port(self.bounce_listen)

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy that `retry_schedule` and `after_unknown` describe."""
        return RetryPolicy(schedule=self.retry_schedule, after_unknown=self.after_unknown)

    @property
    def database_urls(self) -> dict[str, str]:
        """The databases by service; SQLite files in `var_dir` where no URL is given."""
        urls = {
            "gateway": self.gateway_database_url,
            "users": self.users_database_url,
            "templates": self.templates_database_url,
        }
        return {name: url or f"sqlite://{self.var_dir}/{name}.db" for name, url in urls.items()}


def load_settings(**overrides: Any) -> Settings:
    """Read the environment. Raises `ConfigurationError` naming the first bad variable."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{name}: {first['msg']}.") from error
