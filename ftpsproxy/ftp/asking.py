"""When the server is asked something on our own behalf, and what its answers mean."""

from ftpsproxy.ftp import client_side, directory
from ftpsproxy.ftp.commands import Command
from ftpsproxy.ftp.orders import Order, TellClient
from ftpsproxy.ftp.replies import Reply
from ftpsproxy.ftp.state import State


def answered(state: State, reply: Reply) -> list[Order]:
    """What the server says to a question of our own."""
    questions = state.questions
    question = questions.heard(reply)
    if question is None:
        return []
    if question.verb in directory.VERBS:
        state.directory.answered(question, reply)
    if (command := questions.take_command()) is None:
        return questions.next()
    size = reply.text.strip()
    return client_side.append(state, command, int(size) if reply.good and size.isdecimal() else None)


def ask_behind(state: State, orders: list[Order], *, behind_login: bool = False) -> list[Order]:
    """Behind what has changed the directory the server is asked for it, before the client hears more: by its own word
    alone is a path known that a symbolic link is part of. Behind a login it is told that names are UTF-8, too."""
    questions: list[Command] = []
    if behind_login and state.charsets.utf8_server:
        questions.append(Command(b"OPTS", b"UTF8 ON"))
    if state.judge.asks_where:
        questions.append(Command(b"PWD"))
    if not questions or not state.login.done:
        return orders
    held: list[Order] = [order for order in orders if isinstance(order, TellClient)]
    done = [order for order in orders if not isinstance(order, TellClient)]
    return [*done, *state.questions.ask(tuple(questions), held=held)]
