"""Answers about an account that never change here: its key, the coin, settings that it does not have."""

from bot.simulator.account.access import Key

_CREATED = "2025-01-01T00:00:00Z"


def api_key(key: Key) -> dict[str, object]:
    """``GET /v5/user/query-api``: what the key may do.

    https://bybit-exchange.github.io/docs/v5/user/apikey-info
    """
    return {
        "id": str(key.uid),
        "note": "local exchange",
        "apiKey": key.key,
        "readOnly": int(key.read_only),
        "secret": "",
        "permissions": {
            "ContractTrade": ["Order", "Position"],
            "Spot": [],
            "Wallet": ["AccountTransfer", "Withdraw"] if key.withdraw else [],
            "Options": [],
            "Derivatives": ["DerivativesTrade"],
            "CopyTrading": [],
            "BlockTrade": [],
            "Exchange": [],
            "NFT": [],
            "Affiliate": [],
            "Earn": [],
            "FiatP2P": [],
            "FiatConvertBroker": [],
            "FiatGlobalPay": [],
            "FiatBitPay": [],
            "BitCard": [],
            "ByXPost": [],
        },
        "ips": ["*"],
        "type": 1,
        "deadlineDay": -2,
        "expiredAt": "1970-01-01T00:00:00Z",
        "createdAt": _CREATED,
        "unified": 0,
        "uta": 1,
        "userID": key.uid,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": True,
        "parentUid": "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
        "userIDInt64": str(key.uid),
        "inviterIDInt64": "0",
        "affiliateIDInt64": "0",
    }


def coin_info(coin: str) -> dict[str, object]:
    """``GET /v5/asset/coin/query-info``: the only coin, and a chain without deposits and withdrawals."""
    chain = {
        "chainType": "Ethereum (ERC20)",
        "confirmation": "6",
        "withdrawFee": "0",
        "depositMin": "0",
        "withdrawMin": "0",
        "chain": "ETH",
        "chainDeposit": "0",
        "chainWithdraw": "0",
        "minAccuracy": "8",
        "withdrawPercentageFee": "0",
        "contractAddress": "",
        "safeConfirmNumber": "64",
        "withdrawMax": "0",
    }
    row = {"name": "USDT", "coin": "USDT", "remainAmount": "0", "chains": [chain]}
    return {"rows": [row] if coin in ("", "USDT") else []}


def collateral() -> dict[str, object]:
    """A row of ``GET /v5/account/collateral-info``: USDT counts fully and cannot be borrowed."""
    return {
        "availableToBorrow": "0",
        "freeBorrowingAmount": "",
        "freeBorrowAmount": "0",
        "maxBorrowingAmount": "0",
        "hourlyBorrowRate": "0",
        "borrowUsageRate": "0",
        "collateralSwitch": True,
        "borrowAmount": "0",
        "borrowable": False,
        "currency": "USDT",
        "otherBorrowAmount": "0",
        "marginCollateral": True,
        "freeBorrowingLimit": "0",
        "collateralRatio": "1",
    }


def dcp() -> dict[str, object]:
    """``GET /v5/account/query-dcp-info``: disconnect protection exists for institutions only."""
    return {"dcpInfos": []}
