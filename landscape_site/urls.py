"""Every address of the site: the application's own pages and logging in."""

from allauth.account import views as accounts
from django.urls import include, path

from audit.admin import desk

# A choice of allauth's addresses. Signing up and recovering a password by mail are not among
# them: an administrator makes accounts, and a stranger finds one page only.
account_urls = [
    path("login/", accounts.login, name="account_login"),
    path("logout/", accounts.logout, name="account_logout"),
    path("inactive/", accounts.account_inactive, name="account_inactive"),
    path("reauthenticate/", accounts.reauthenticate, name="account_reauthenticate"),
    path("password/change/", accounts.password_change, name="account_change_password"),
]

urlpatterns = [
    path("", include("audit.urls")),
    path("accounts/", include(account_urls)),
    path("admin/", desk.urls),
]
