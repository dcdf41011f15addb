"""Answer the messages that nobody answered, since a process died or the model failed; run it often.

    python recover.py [--older-than SECONDS] [--offline] [--debug]

It can run beside chats and beside itself. docs/growing.md has the details.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

from pymongo.errors import PyMongoError

from database import DB_NAME, DatabaseUnavailable, connect, explain, mongodb_uri
from engine import Conversation, Limits, recover
from main import open_conversation
from settings import choose_model, history_tokens, load_settings, log_problems, missing_setting


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--older-than", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--offline", action="store_true", help="use the rule-based model")
    parser.add_argument("--debug", action="store_true", help="show why one was not answered")
    args = parser.parse_args()
    load_settings()
    log_problems(args.debug)
    if problem := missing_setting(args.offline):
        sys.exit(problem)
    try:
        answered = asyncio.run(recover_all(args.offline, args.older_than))
    except DatabaseUnavailable as error:
        sys.exit(str(error))
    except PyMongoError as error:
        sys.exit(explain(error, mongodb_uri()))
    print(f"{answered or 'No'} conversation{'s' * (answered > 1)} answered.")
    return 0


async def recover_all(offline: bool, older_than: float) -> int:
    model, model_settings = choose_model(offline)
    limits = Limits(tokens=history_tokens())
    async with await connect(mongodb_uri()) as client:
        db = client[DB_NAME]

        async def open_again(record: Mapping[str, Any]) -> Conversation:
            customer: Any = await db.customers.find_one({"email": record["owner"]})
            if not customer:
                raise LookupError("the customer is gone")
            return await open_conversation(client, customer, model, model_settings, limits=limits)

        return await recover(db.conversations, open_again, older_than=older_than)


if __name__ == "__main__":
    sys.exit(main())
