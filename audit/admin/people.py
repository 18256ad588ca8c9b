"""People and their roles: made, changed and shut out here; nobody is deleted.

What somebody did stands under their number for ever, so an account is deactivated, never removed.
Nobody changes their own roles, and whether somebody is a superuser is said on the server alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.forms import SetPasswordForm, UserCreationForm
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import Http404
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from audit import access
from audit.admin.base import Column, Sorted, form, listing, page
from audit.vocabulary import Role

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

SEE, ADD, CHANGE = "auth.view_user", "auth.add_user", "auth.change_user"


def _roles(user: User) -> str:
    names = [group.name for group in user.groups.all()]
    return ", ".join([*names, *(["superuser"] if user.is_superuser else [])]) or "none"


def _standing(user: User) -> str:
    return "open" if user.is_active else "shut"


_HOW = Sorted(
    columns=(
        Column(
            "User",
            "text",
            lambda user: user.get_username(),
            lambda user: reverse("admin:person", kwargs={"number": user.pk}),
        ),
        Column("Name", "text", lambda user: user.get_full_name()),
        Column("Roles", "text", _roles),
        Column("Account", "account", _standing),
        Column("Last seen (UTC)", "moment", lambda user: user.last_login),
    ),
    order=("id",),
    find="username",
)


class _Roles(forms.ModelForm):
    groups = forms.ModelMultipleChoiceField(
        label="Roles",
        queryset=Group.objects.filter(name__in=Role.values).order_by("name"),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        help_text="What each may do stands in docs/security.md.",
    )


class Change(_Roles):
    """What may be changed of an account."""

    class Meta:
        model = User
        fields = ("first_name", "last_name", "email", "is_active", "groups")
        labels = {"is_active": "May sign in"}
        help_texts = {"is_active": "Take this away instead of deleting: what they did stays."}


class Add(UserCreationForm, _Roles):
    """A new account, with a first password that is handed over."""

    class Meta:
        model = User
        fields = ("username", "first_name", "last_name", "email", "groups")


@page(*_HOW.parameters, needs=SEE)
def people(request: HttpRequest) -> HttpResponseBase:
    """Everybody who has, or had, an account."""
    everybody = get_user_model()._default_manager.prefetch_related("groups")
    context = {
        "title": "Users",
        "answer": "Everybody who has an account, or had one.",
        "list": listing(request, everybody, _HOW),
        "more": ("Add a user", reverse("admin:add-person")),
    }
    return render(request, "admin/list.html", context)


@form(
    "username", "first_name", "last_name", "email", "password1", "password2", "groups*", needs=ADD
)
def add(request: HttpRequest) -> HttpResponseBase:
    """Make an account."""
    asked = Add(request.POST or None)
    if request.method == "POST" and asked.is_valid():
        now = timezone.now()
        with transaction.atomic():
            made = asked.save()
            _note(request, made, before=set(), after=set(made.groups.all()), at=now)
        messages.success(request, f"{made.get_username()} may sign in.")
        return redirect("admin:people")
    context = {"title": "Add a user", "form": asked, "act": "Make the account"}
    return render(request, "admin/form.html", context, status=400 if asked.errors else 200)


@form("first_name", "last_name", "email", "is_active", "groups*", needs=CHANGE)
def person(request: HttpRequest, number: int) -> HttpResponseBase:
    """What is known of somebody, and what they may do."""
    somebody = _somebody(number)
    before = set(somebody.groups.all())
    asked = Change(request.POST or None, instance=somebody)
    if somebody.pk == request.user.pk:
        # Somebody else says what I may do, and whether I may come in.
        for name in ("groups", "is_active"):
            asked.fields[name].disabled = True
            asked.fields[name].help_text = "Your own are for another administrator to change."
    if request.method == "POST" and asked.is_valid():
        now = timezone.now()
        with transaction.atomic():
            asked.save()
            _note(request, somebody, before=before, after=set(somebody.groups.all()), at=now)
        messages.success(request, f"{somebody.get_username()} is changed.")
        return redirect("admin:people")
    context = {
        "title": somebody.get_username(),
        "form": asked,
        "act": "Save",
        "more": None
        if somebody.is_superuser or somebody.pk == request.user.pk
        else ("Set a new password", reverse("admin:password", kwargs={"number": somebody.pk})),
        "superuser": somebody.is_superuser,
    }
    return render(request, "admin/form.html", context, status=400 if asked.errors else 200)


@form("new_password1", "new_password2", needs=CHANGE)
def password(request: HttpRequest, number: int) -> HttpResponseBase:
    """Give somebody a new password; not a superuser, and not oneself."""
    somebody = _somebody(number)
    if somebody.is_superuser or somebody.pk == request.user.pk:
        raise Http404("There is no such page for this account.")
    asked: Any = SetPasswordForm(somebody, request.POST or None)
    if request.method == "POST" and asked.is_valid():
        asked.save()
        messages.success(request, f"{somebody.get_username()} has a new password.")
        return redirect("admin:people")
    context = {
        "title": f"New password for {somebody.get_username()}",
        "form": asked,
        "act": "Set the password",
    }
    return render(request, "admin/form.html", context, status=400 if asked.errors else 200)


def _somebody(number: int) -> User:
    found = User.objects.filter(pk=number).first() if number < 2**31 else None
    if found is None:
        raise Http404(f"There is no user {number}.")
    return found


def _note(
    request: HttpRequest, somebody: User, *, before: set[Group], after: set[Group], at: datetime
) -> None:
    """Keep that roles change; if that fails, they do not."""
    access.note_role_change(
        by=request.user,
        person=somebody,
        before=[group.name for group in before],
        after=[group.name for group in after],
        asked=access.asked(request),
        at=at,
    )


urls = [
    path("people/", people, name="people"),
    path("people/add/", add, name="add-person"),
    path("people/<int:number>/", person, name="person"),
    path("people/<int:number>/password/", password, name="password"),
]
