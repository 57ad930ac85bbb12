"""A scripted model server: the Anthropic Messages API, answered from script files instead of a model.

The real Claude Code CLI talks to it when no model key is set. It never pretends: each conversation begins with a notice,
and a script whose expectations are not met says so and stops.

    script.py        what a script may say           library.py   scripts in a folder, and which one fits
    conversation.py  what a request tells us          director.py  conversation + script → the next answer (pure)
    answer.py        an answer as blocks              protocol.py  an answer as Messages API JSON or events
    tokens.py        usage figures                    app.py, server.py  HTTP around it
"""
