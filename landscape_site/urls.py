"""Every address of the site: the application's own pages and signing in."""

from allauth.account import views as accounts
from allauth.mfa.base import views as factors
from allauth.mfa.recovery_codes import views as recovery_codes
from allauth.mfa.totp import views as totp
from django.conf import settings
from django.urls import include, path
from django.views.decorators.cache import never_cache

from audit.admin import desk
from audit.views import person

_PROVIDER = settings.IDENTITY_PROVIDER
_login = accounts.LoginView.as_view(
    extra_context={"identity_provider": _PROVIDER.name if _PROVIDER else ""}
)

# A choice of allauth's addresses. Signing up and recovering a password by mail are not among
# them: an administrator makes accounts, and a stranger finds one page only.
account_urls = [
    path("login/", _login, name="account_login"),
    path("logout/", accounts.logout, name="account_logout"),
    path("inactive/", accounts.account_inactive, name="account_inactive"),
    path("reauthenticate/", accounts.reauthenticate, name="account_reauthenticate"),
    path("password/change/", accounts.password_change, name="account_change_password"),
    # allauth leads here whoever has no password to change.
    path("password/set/", person.no_password, name="account_set_password"),
    # The account page stands at this address under its own name as well.
    path("", person.account, name="mfa_index"),
    path("2fa/authenticate/", factors.authenticate, name="mfa_authenticate"),
    path("2fa/reauthenticate/", factors.reauthenticate, name="mfa_reauthenticate"),
    path("2fa/totp/activate/", totp.activate_totp, name="mfa_activate_totp"),
    path("2fa/totp/deactivate/", totp.deactivate_totp, name="mfa_deactivate_totp"),
    path(
        "2fa/recovery-codes/",
        recovery_codes.view_recovery_codes,
        name="mfa_view_recovery_codes",
    ),
    path(
        "2fa/recovery-codes/generate/",
        recovery_codes.generate_recovery_codes,
        name="mfa_generate_recovery_codes",
    ),
]

if _PROVIDER:
    from landscape_site.accounts import oidc

    account_urls = [*oidc.urls, *account_urls]

# Secrets are shown among them: no browser and no proxy keeps a copy.
for pattern in account_urls:
    pattern.callback = never_cache(pattern.callback)

urlpatterns = [
    path("", include("audit.urls")),
    path("accounts/", include(account_urls)),
    path("admin/", desk.urls),
]

handler400 = "audit.views.refusals.not_understood"
