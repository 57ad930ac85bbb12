"""The measure of the door: a function that does nothing, on the same framework."""

import functions_framework.aio


@functions_framework.aio.http
async def empty(request):
    return "ok"
