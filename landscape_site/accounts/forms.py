"""Codes of second factors: each counts once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from allauth.core.internal.cryptokit import normalize_user_code
from allauth.mfa import app_settings
from allauth.mfa.adapter import get_adapter
from allauth.mfa.base import forms
from allauth.mfa.totp import forms as totp
from django.core.cache import cache
from django.core.exceptions import ValidationError

from landscape_site.accounts.events import keep_refused

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser


class _Once:
    """A code is good for the step before and after its own, so it is remembered for all three.

    allauth forgets it after one.
    """

    user: AbstractBaseUser

    def clean_code(self) -> str:
        code: str = super().clean_code()  # type: ignore[misc]  # of the form beside it
        steps = 2 * app_settings.TOTP_TOLERANCE + 1
        # As it is compared: “123-456” is the same code again.
        key = f"second-factor:{getattr(self.user, 'pk', None)}:{normalize_user_code(code)}"
        if not cache.add(key, 1, timeout=steps * app_settings.TOTP_PERIOD):
            raise get_adapter().validation_error("incorrect_code")
        return code


class _Kept(_Once):
    """A wrong code, or one that was used, is kept; what throttling turns away is not."""

    def clean_code(self) -> str:
        try:
            return super().clean_code()
        except ValidationError as error:
            if error.code == "incorrect_code":
                keep_refused(context.request, self.user, "second factor")
            raise


class AuthenticateForm(_Kept, forms.AuthenticateForm):
    """The code at sign-in."""


class ReauthenticateForm(_Kept, forms.ReauthenticateForm):
    """The code that confirms."""


class ActivateForm(_Once, totp.ActivateTOTPForm):
    """The first code of a new authenticator; it proves its owner like any later one."""

    def clean_code(self) -> str:
        code = super().clean_code()
        record_authentication(context.request, self.user, "mfa", type="totp")
        return code
