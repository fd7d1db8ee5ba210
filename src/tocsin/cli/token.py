"""`tocsin token`: makes a bearer token, shows it once, and says what to write."""

from typing import Annotated

import typer

from tocsin.security.roles import Role
from tocsin.security.tokens import hash_text, new_token

__all__ = ["token"]


def token(
    role: Annotated[Role, typer.Option("--role", help="What it opens.")] = Role.READ,
    name: Annotated[str, typer.Option("--name", help="Who gets it; for the log.")] = "",
    project: Annotated[list[str] | None, typer.Option("--project", help="Bind it to this project; repeat.")] = None,
) -> None:
    """Make a random token of 256 bits; nothing keeps it but whoever copies it now.

    Standard output has the token alone, so that it can go to a file or a secret store; what the configuration needs,
    with its hash, goes to standard error.
    """
    if role is Role.INGEST and project:
        typer.echo("a token of role ingest can't be bound to projects: a span belongs to none", err=True)
        raise typer.Exit(1)
    made = new_token()
    entry = [f"name: {name or role.value}", f'hash: "{hash_text(made)}"', f"role: {role.value}"]
    if project:
        entry.append(f"projects: [{', '.join(project)}]")
    where = (
        "receivers.otlp.grpc.auth.tokens and receivers.otlp.http.auth.tokens" if role is Role.INGEST else "api.tokens"
    )
    typer.echo(made)
    typer.echo(f"It is not shown again. Under {where}:\n  - {{{', '.join(entry)}}}", err=True)
