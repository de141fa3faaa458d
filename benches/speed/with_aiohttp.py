"""What the benchmark `speed` compares with: the same requests with aiohttp.

with_aiohttp.py JOB ADDRESSES CA KEY MASTER_KEY AT_ONCE SETTLE: the job is `push`, `push-and-look` or `verify`.
"""

import asyncio
import ssl
import sys
import time

import aiohttp

LOOK = "/api/stripe-pk"
PUT = "/api/export/settings/stripe_publishable_key"


async def main(job, addresses, ca, key, master_key, at_once, settle):
    with open(addresses) as lines:
        sites = ["https://" + line.strip() for line in lines]
    trust = ssl.create_default_context(cafile=ca)
    connector = aiohttp.TCPConnector(limit=at_once, ssl=trust)
    timeout = aiohttp.ClientTimeout(total=35, connect=5)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def look(site, close):
            headers = {"Connection": "close"} if close else {}
            async with session.get(site + LOOK, headers=headers) as answer:
                answer.raise_for_status()
                return (await answer.json())["publishable_key"]

        async def first(site):
            if job != "verify":
                await look(site, False)
                headers = {"X-API-Key": master_key}
                async with session.put(site + PUT, json={"value": key}, headers=headers) as answer:
                    answer.raise_for_status()
                    assert (await answer.json())["success"] is True
            await last(site)

        async def last(site):
            assert await look(site, True) == key

        async def each(of_site):
            left = iter(sites)

            async def work():
                for site in left:
                    await of_site(site)

            await asyncio.gather(*(work() for _ in range(at_once)))

        begin = time.monotonic()
        await each(first)
        if job == "push-and-look":
            await asyncio.sleep(max(0, settle - (time.monotonic() - begin)))
            await each(last)


if __name__ == "__main__":
    job, addresses, ca, key, master_key, at_once, settle = sys.argv[1:]
    asyncio.run(main(job, addresses, ca, key, master_key, int(at_once), float(settle)))
