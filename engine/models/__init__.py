"""Between the agents and a model's server: docs/servers.md is the page on it.

Each server refuses something else, and answers in its own way. `checked.CheckedModel` stands around
each model, so that the rest of the engine needs to know no server. Skip this package at a first
reading: with a server that does all as the API says, it changes nothing.

    checked      the model that the agents get: it asks, waits for each piece, and asks again
    request      what is sent
    response     what comes back
    items        what an item of either must be
    chat_client  chat completions: a client for the SDK's OpenAIChatCompletionsModel
"""
