"""Django's settings: one file that boots with nothing set, and refuses half a production.

What may be set from outside is in docs/settings.md and read in `env`.
"""

from typing import Any

from django.core.exceptions import ImproperlyConfigured

from audit.recorder import sessions
from landscape_site import addresses, env, places, postgres
from landscape_site.env import BASE_DIR

ENV = env.read()
PRODUCTION = not ENV.debug

if PRODUCTION and (missing := ENV.missing_in_production()):
    raise ImproperlyConfigured(
        f"LANDSCAPE_DEBUG is false, so this is production, and it needs: {', '.join(missing)}."
        " docs/settings.md says what they mean."
    )
if ENV.role not in {"command", "web", "worker"}:
    raise ImproperlyConfigured(
        f"LANDSCAPE_ROLE is “{ENV.role}”; it may be “command”, “web” or “worker”."
    )

# Where this installation keeps its own files; the application asks here for room.
LANDSCAPE_VAR = ENV.var
_PLACES = places.Places(ENV.var)

# Who vouches for what is signed here, and with which key. Processes that serve strangers never
# see the private one; they learn the public ones from the database.
LANDSCAPE_AUTHORITY = ENV.authority
LANDSCAPE_SIGNING_KEY = "" if ENV.role == "web" else ENV.signing_key
SIGNING_KEY_FILE = None if ENV.role == "web" else _PLACES.signing_key
MAY_INVENT_SIGNING_KEY = not PRODUCTION

# Exports: seconds for which a worker has one without a sign of life, days for which the file is
# kept, and how many records one may have (0: as many as there are).
LANDSCAPE_EXPORT_LEASE = ENV.export_lease
LANDSCAPE_EXPORT_DAYS = ENV.export_days
LANDSCAPE_EXPORT_MAX_RECORDS = ENV.export_max_records

# Seconds between the approval of a purge and its earliest beginning.
LANDSCAPE_PURGE_WAIT = int(ENV.purge_wait * 60 * 60)
if (60 * 60 if PRODUCTION else 0) > LANDSCAPE_PURGE_WAIT:
    raise ImproperlyConfigured(
        f"LANDSCAPE_PURGE_WAIT is {ENV.purge_wait:g} hours: in production a purge waits for one "
        "at least, so that somebody can still place a hold."
    )
# Uploads: how many megabytes one may have, and one person's within a day.
LANDSCAPE_IMPORT_MAX_MB = ENV.import_max_mb
LANDSCAPE_IMPORT_QUOTA_MB = ENV.import_quota_mb

SECRET_KEY = ENV.secret_key or places.secret(_PLACES.secret_key)
# Pages served to people show no tracebacks, in a trial as in production; `runserver` does.
DEBUG = not PRODUCTION and ENV.may_own
ALLOWED_HOSTS = list(ENV.allowed_hosts) or ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "landscape_site.apps.LandscapeConfig",
    "audit.apps.AuditConfig",
    # Without its own discovery: only what `audit.admin` registers is there.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    # Outermost, so that refusals and redirections carry the headers as well.
    "csp.middleware.CSPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "landscape_site.accounts.middleware.Hardened",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Every page needs a login unless its view says otherwise.
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "landscape_site.accounts.middleware.SessionsNoted",
    "landscape_site.accounts.middleware.SecondFactorFirst",
]

ROOT_URLCONF = "landscape_site.urls"
WSGI_APPLICATION = "landscape_site.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "audit.views.doors.rights",
                "audit.admin.desk.around",
            ],
        },
    },
]


# Two logins. `default` is the application's: it owns nothing, and everything uses it. `owner`
# migrates and creates test databases, and is absent where it is not needed.


# Pages and jobs may take their time; who records must hear of a fault within five seconds.
_HURRIED = ENV.role == "command"

# What every session of a login is held to; `check_schema` asks a live connection.
DATABASE_SESSIONS = {
    # Pipelines that record from elsewhere are held to the same, in a hurry. What needs longer
    # lifts it for its transaction (`bulk.without_time_limits`).
    "default": sessions.APPLICATION | ({} if _HURRIED else {"statement_timeout": "15000"}),
    # Migrations take as long as they take, but do not queue everybody else behind them.
    "owner": {
        "statement_timeout": "0",
        "lock_timeout": "10000",
        "idle_in_transaction_session_timeout": "60000",
        "TimeZone": "UTC",
        "application_name": "landscape-owner",
    },
}
# How many seconds the client itself waits for an answer: a server that is stopped, or behind a
# dead line, keeps no limits. A little longer than the server's own, which are told in better words.
DATABASE_PATIENCE = {"default": sessions.PATIENCE if _HURRIED else 15.5, "owner": None}


def _connection(parsed: dict[str, Any], alias: str) -> dict[str, Any]:
    if parsed["ENGINE"] != "django.db.backends.postgresql":
        raise ImproperlyConfigured("Landscape runs on PostgreSQL: use a postgresql:// URL.")
    return parsed | {
        "ENGINE": "audit.postgresql",
        "ATOMIC_REQUESTS": False,
        "CONN_MAX_AGE": 60,
        # A connection that died with its server must not cost the next request.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": sessions.held_to(
            DATABASE_SESSIONS[alias],
            given=parsed.get("OPTIONS", {}),
            patience=DATABASE_PATIENCE[alias],
        ),
    }


def _private(login: str, alias: str) -> dict[str, Any]:
    return _connection(
        {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": str(_PLACES.sockets),
            "NAME": postgres.DATABASE,
            "USER": login,
            # Empty until the services have started for the first time.
            "PASSWORD": places.known_secret(_PLACES.password(login)),
        },
        alias,
    )


DATABASES = {
    "default": _connection(ENV.database, "default")
    if ENV.database
    else _private(postgres.APPLICATION_LOGIN, "default"),
}
if ENV.may_own:
    if ENV.owner_database:
        DATABASES["owner"] = _connection(ENV.owner_database, "owner")
    elif not ENV.database:
        DATABASES["owner"] = _private(postgres.OWNER_LOGIN, "owner")
if "owner" in DATABASES:
    # Without this Django's test runner makes `owner` wait for `default`. Never MIRROR here:
    # tests would then run on the real database.
    DATABASES["owner"]["TEST"] = {"DEPENDENCIES": []}

# Beside the hints, in a database of its own; the broker's server, unless another one is named.
_SHARED = ENV.cache or f"unix://{_PLACES.queue_socket}?db=1"
CACHES: dict[str, dict[str, Any]] = {
    # Counted sign-ins and used codes: shared by all web processes, and never out of reach.
    "default": {
        "BACKEND": "landscape_site.accounts.caching.SharedCache",
        "LOCATION": _SHARED,
        "KEY_PREFIX": "landscape",
        "OPTIONS": {
            "serializer": "landscape_site.accounts.caching.Json",
            "socket_connect_timeout": 1,
            "socket_timeout": 2,
        },
    },
    # Where Graphviz placed the nodes of a pipeline: once for all processes of this machine.
    "layouts": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": ENV.var / "layouts",
        "OPTIONS": {"MAX_ENTRIES": 1_000},
    },
}

# Signing in: by name, accounts are made by an administrator, signing out takes a POST. Attempts
# are counted over all processes, by name and by address, before they are made.
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
ACCOUNT_ADAPTER = "landscape_site.accounts.adapters.People"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_RATE_LIMITS = {
    "login_failed": "10/15m/key,20/1h/ip",
    # A browser in which the same person has signed in before: nobody else can use it up.
    "login_failed_known": "10/15m/key",
    # Refusals of what an identity provider says: how many are kept, not how many are made.
    "oidc_refused": "20/1h/ip",
    # Tokens of the API that give nothing.
    "token_refused": "20/1h/ip",
}
ALLAUTH_TRUSTED_PROXY_COUNT = ENV.trusted_proxies
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = LOGIN_URL
ACCOUNT_LOGOUT_REDIRECT_URL = LOGIN_URL

# Who people are may also be said elsewhere; None where nobody is asked (`accounts.oidc`).
IDENTITY_PROVIDER = ENV.oidc
SOCIALACCOUNT_ADAPTER = "landscape_site.accounts.oidc.Newcomers"
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5

# Whoever approves, administers or is a superuser needs a second factor; what cannot be undone
# asks for a proof that is not older than a quarter of an hour.
LANDSCAPE_REQUIRE_MFA = ENV.require_mfa
ACCOUNT_REAUTHENTICATION_TIMEOUT = 15 * 60
MFA_ADAPTER = "landscape_site.accounts.adapters.Factors"
MFA_FORMS = {
    "activate_totp": "landscape_site.accounts.forms.ActivateForm",
    "authenticate": "landscape_site.accounts.forms.AuthenticateForm",
    "reauthenticate": "landscape_site.accounts.forms.ReauthenticateForm",
}
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Landscape"
# Clocks of telephones are a little wrong.
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True

# A session ends half an hour after the last sign of life, twelve hours after the sign-in, and
# with the browser.
SESSION_ENGINE = "landscape_site.accounts.sessions"
SESSION_COOKIE_AGE = 30 * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
SESSION_LIFETIME = 12 * 60 * 60
DEVICE_COOKIE_NAME = "landscape_device"

# Work that takes longer than a page. The database knows what is to be done; a message only rings
# a bell, so losing all of them costs seconds (docs/decisions/0007-background.md).
CELERY_BROKER_URL = ENV.broker or f"redis+socket://{_PLACES.queue_socket}?virtual_host=0"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than any task: a shorter one would run a long task twice at once.
    "visibility_timeout": 6 * 60 * 60,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    # A page that rings must not wait for a server that is not there.
    "socket_connect_timeout": 1,
    "socket_timeout": 5,
    "max_retries": 1,
    "interval_start": 0,
}
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TIME_LIMIT = 5 * 60 * 60
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 200
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 500_000  # kB
CELERY_WORKER_HIJACK_ROOT_LOGGER = False

# The API answers whoever is signed in or shows a token, in JSON, and reads only.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        # The first one says how to ask, so who is nobody is answered 401.
        "audit.api.authentication.ByToken",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["audit.api.permissions.SeesRecords"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "audit.api.asking.as_error",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Landscape",
    "VERSION": "1",
    "DESCRIPTION": "What happened to every row, and why. Read-only; pages go by key.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["audit.api.permissions.SeesRecords"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Production serves what `collectstatic` gathered, under names that carry their hash; elsewhere
# files come from where they lie.
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
WHITENOISE_USE_FINDERS = not PRODUCTION


def _kept(folder: str, backend: str) -> dict[str, Any]:
    """Where files are kept: below LANDSCAPE_VAR, or in the store that is named."""
    if not ENV.store:
        return {"BACKEND": backend}
    return {
        "BACKEND": "landscape_site.buckets.Bucket",
        "OPTIONS": addresses.options(ENV.store, folder),
    }


STORAGES = {
    # Row contents, call bodies, errors.
    "payloads": _kept("payloads", "audit.payloads.PayloadFiles"),
    # The records that were sealed.
    "seals": _kept("seals", "audit.evidence.store.SealFiles"),
    # What exports made.
    "exports": _kept("exports", "audit.exports.files.ExportFiles"),
    # Files that wait to be imported, below LANDSCAPE_VAR/uploads.
    "uploads": {"BACKEND": "audit.imports.uploads.UploadFiles"},
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# All audit data is hostile. Nothing is loaded from elsewhere and nothing runs inline.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "font-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    },
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
if PRODUCTION:
    # The prefix binds them to this very host and to HTTPS: no neighbour can set them.
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrf"
    DEVICE_COOKIE_NAME = "__Host-device"
    SECURE_SSL_REDIRECT = True
    # Load balancers ask for health over plain HTTP.
    SECURE_REDIRECT_EXEMPT = [r"^health/"]
    SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "audit": {"level": "INFO"},
        "landscape_site": {"level": "INFO"},
    },
}
