//! What is known of Redis' commands by name. Arguments of unknown commands are never reported: a
//! password behind a mistyped AUTH is no key.

/// Commands whose first argument is a key, sorted.
const FIRST_IS_KEY: &[&[u8]] = &[
    b"APPEND",
    b"BITCOUNT",
    b"BITFIELD",
    b"BITFIELD_RO",
    b"BITPOS",
    b"BLMOVE",
    b"BLPOP",
    b"BRPOP",
    b"BRPOPLPUSH",
    b"BZPOPMAX",
    b"BZPOPMIN",
    b"COPY",
    b"DECR",
    b"DECRBY",
    b"DEL",
    b"DUMP",
    b"EXISTS",
    b"EXPIRE",
    b"EXPIREAT",
    b"EXPIRETIME",
    b"GEOADD",
    b"GEODIST",
    b"GEOHASH",
    b"GEOPOS",
    b"GEORADIUS",
    b"GEORADIUSBYMEMBER",
    b"GEORADIUSBYMEMBER_RO",
    b"GEORADIUS_RO",
    b"GEOSEARCH",
    b"GEOSEARCHSTORE",
    b"GET",
    b"GETBIT",
    b"GETDEL",
    b"GETEX",
    b"GETRANGE",
    b"GETSET",
    b"HDEL",
    b"HEXISTS",
    b"HEXPIRE",
    b"HGET",
    b"HGETALL",
    b"HINCRBY",
    b"HINCRBYFLOAT",
    b"HKEYS",
    b"HLEN",
    b"HMGET",
    b"HMSET",
    b"HPERSIST",
    b"HPEXPIRE",
    b"HPTTL",
    b"HRANDFIELD",
    b"HSCAN",
    b"HSET",
    b"HSETNX",
    b"HSTRLEN",
    b"HTTL",
    b"HVALS",
    b"INCR",
    b"INCRBY",
    b"INCRBYFLOAT",
    b"LCS",
    b"LINDEX",
    b"LINSERT",
    b"LLEN",
    b"LMOVE",
    b"LPOP",
    b"LPOS",
    b"LPUSH",
    b"LPUSHX",
    b"LRANGE",
    b"LREM",
    b"LSET",
    b"LTRIM",
    b"MGET",
    b"MOVE",
    b"MSET",
    b"MSETNX",
    b"PERSIST",
    b"PEXPIRE",
    b"PEXPIREAT",
    b"PEXPIRETIME",
    b"PFADD",
    b"PFCOUNT",
    b"PFMERGE",
    b"PSETEX",
    b"PTTL",
    b"RENAME",
    b"RENAMENX",
    b"RESTORE",
    b"RPOP",
    b"RPOPLPUSH",
    b"RPUSH",
    b"RPUSHX",
    b"SADD",
    b"SCARD",
    b"SDIFF",
    b"SDIFFSTORE",
    b"SET",
    b"SETBIT",
    b"SETEX",
    b"SETNX",
    b"SETRANGE",
    b"SINTER",
    b"SINTERSTORE",
    b"SISMEMBER",
    b"SMEMBERS",
    b"SMISMEMBER",
    b"SMOVE",
    b"SORT",
    b"SORT_RO",
    b"SPOP",
    b"SRANDMEMBER",
    b"SREM",
    b"SSCAN",
    b"STRLEN",
    b"SUBSTR",
    b"SUNION",
    b"SUNIONSTORE",
    b"TOUCH",
    b"TTL",
    b"TYPE",
    b"UNLINK",
    b"WATCH",
    b"XACK",
    b"XADD",
    b"XAUTOCLAIM",
    b"XCLAIM",
    b"XDEL",
    b"XLEN",
    b"XPENDING",
    b"XRANGE",
    b"XREVRANGE",
    b"XSETID",
    b"XTRIM",
    b"ZADD",
    b"ZCARD",
    b"ZCOUNT",
    b"ZDIFFSTORE",
    b"ZINCRBY",
    b"ZINTERSTORE",
    b"ZLEXCOUNT",
    b"ZMSCORE",
    b"ZPOPMAX",
    b"ZPOPMIN",
    b"ZRANDMEMBER",
    b"ZRANGE",
    b"ZRANGEBYLEX",
    b"ZRANGEBYSCORE",
    b"ZRANGESTORE",
    b"ZRANK",
    b"ZREM",
    b"ZREMRANGEBYLEX",
    b"ZREMRANGEBYRANK",
    b"ZREMRANGEBYSCORE",
    b"ZREVRANGE",
    b"ZREVRANGEBYLEX",
    b"ZREVRANGEBYSCORE",
    b"ZREVRANK",
    b"ZSCAN",
    b"ZSCORE",
    b"ZUNIONSTORE",
];

/// Commands of two words, sorted, and whether a key follows them.
const TWO_WORDS: &[(&[u8], bool)] = &[
    (b"ACL", false),
    (b"CLIENT", false),
    (b"CLUSTER", false),
    (b"COMMAND", false),
    (b"CONFIG", false),
    (b"DEBUG", false),
    (b"FUNCTION", false),
    (b"LATENCY", false),
    (b"MEMORY", true),
    (b"MODULE", false),
    (b"OBJECT", true),
    (b"PUBSUB", false),
    (b"SCRIPT", false),
    (b"SLOWLOG", false),
    (b"XGROUP", true),
    (b"XINFO", true),
];

/// Where a command has its second word and its first key; places count the command as 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub two_words: bool,
    pub key_at: Option<u32>,
    /// The argument before the key is the number of keys; there is no key when it is 0.
    pub counted: bool,
}

/// Takes the name in upper case.
pub(super) fn shape(name: &[u8]) -> Shape {
    let one = |key_at| Shape { key_at, ..Shape::default() };
    let counted = |key_at| Shape { key_at, counted: true, ..Shape::default() };
    if FIRST_IS_KEY.binary_search(&name).is_ok() {
        return one(Some(1));
    }
    if let Ok(place) = TWO_WORDS.binary_search_by(|(word, _)| (*word).cmp(name)) {
        let with_key = TWO_WORDS.get(place).is_some_and(|(_, with_key)| *with_key);
        return Shape { two_words: true, key_at: with_key.then_some(2), counted: false };
    }
    match name {
        b"BITOP" => one(Some(2)),
        b"LMPOP" | b"SINTERCARD" | b"ZDIFF" | b"ZINTER" | b"ZINTERCARD" | b"ZMPOP" | b"ZUNION" => {
            counted(Some(2))
        }
        // A script or a time comes first.
        b"EVAL" | b"EVALSHA" | b"EVALSHA_RO" | b"EVAL_RO" | b"FCALL" | b"FCALL_RO" | b"BLMPOP"
        | b"BZMPOP" => counted(Some(3)),
        // Of modules whose first argument is a key.
        _ if name.starts_with(b"JSON.") && name != b"JSON.DEBUG" => one(Some(1)),
        _ => one(None),
    }
}

/// What follows the answer to a command is no answer: messages of channels, of other clients, or
/// a copy of the data.
pub(super) fn ends_answers(name: &[u8]) -> bool {
    matches!(name, b"SUBSCRIBE" | b"PSUBSCRIBE" | b"SSUBSCRIBE" | b"MONITOR" | b"SYNC" | b"PSYNC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted() {
        assert!(FIRST_IS_KEY.is_sorted() && TWO_WORDS.is_sorted());
    }

    #[test]
    fn arguments_of_unknown_commands_are_no_keys() {
        for name in [&b"AUTH"[..], b"HELLO", b"AUHT", b"ECHO", b"PING", b"PUBLISH", b""] {
            assert_eq!(shape(name), Shape::default());
        }
        assert_eq!(shape(b"SET").key_at, Some(1));
        assert_eq!(shape(b"EVAL").key_at, Some(3));
        let shape_of = |two_words, key_at| Shape { two_words, key_at, counted: false };
        assert_eq!(shape(b"OBJECT"), shape_of(true, Some(2)));
        assert_eq!(shape(b"CONFIG"), shape_of(true, None));
    }
}
