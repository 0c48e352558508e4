package wire

import "strings"

// The commands of redis up to 8 and of valkey up to 9, by what they do:
// https://redis.io/docs/latest/commands/ and https://valkey.io/commands/. What modules add is not
// here: see Known.

// reading is answered once and changes nothing.
const reading = `
	BITCOUNT BITFIELD_RO BITPOS COMMAND COMMANDLOG DBSIZE DIGEST DUMP ECHO EVALSHA_RO EVAL_RO
	EXISTS EXPIRETIME FCALL_RO GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO GEOSEARCH
	GET GETBIT GETRANGE HEXISTS HEXPIRETIME HGET HGETALL HKEYS HLEN HMGET HPEXPIRETIME HPTTL
	HRANDFIELD HSCAN HSTRLEN HTTL HVALS INFO KEYS LASTSAVE LATENCY LCS LINDEX LLEN LOLWUT LPOS
	LRANGE MEMORY MGET OBJECT PEXPIRETIME PING PTTL PUBSUB RANDOMKEY ROLE SCAN SCARD SDIFF SINTER
	SINTERCARD SISMEMBER SLOWLOG SMEMBERS SMISMEMBER SORT_RO SRANDMEMBER SSCAN STRLEN SUBSTR
	SUNION TIME TTL TYPE VCARD VDIM VEMB VGETATTR VINFO VISMEMBER VLINKS VRANDMEMBER VRANGE VSIM
	XINFO XLEN XPENDING XRANGE XREVRANGE ZCARD ZCOUNT ZDIFF ZINTER ZINTERCARD ZLEXCOUNT ZMSCORE
	ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE ZREVRANGEBYLEX ZREVRANGEBYSCORE
	ZREVRANK ZSCAN ZSCORE ZUNION`

// writing is answered once and may change data, or the server.
const writing = `
	ACL APPEND BGREWRITEAOF BGSAVE BITFIELD BITOP CONFIG COPY DECR DECRBY DEL DELEX DELIFEQ EVAL
	EVALSHA EXPIRE EXPIREAT FCALL GEOADD GEORADIUS GEORADIUSBYMEMBER GEOSEARCHSTORE
	GETDEL GETEX GETSET HDEL HEXPIRE HEXPIREAT HGETDEL HGETEX HINCRBY HINCRBYFLOAT HMSET HPERSIST
	HPEXPIRE HPEXPIREAT HSET HSETEX HSETNX INCR INCRBY INCRBYFLOAT LINSERT LMOVE LMPOP LPOP LPUSH
	LPUSHX LREM LSET LTRIM MIGRATE MODULE MOVE MSET MSETEX MSETNX PERSIST PEXPIRE PEXPIREAT PFADD
	PFCOUNT PFDEBUG PFMERGE PFSELFTEST PSETEX PUBLISH RENAME RENAMENX REPLICAOF RESTORE
	RESTORE-ASKING RPOP RPOPLPUSH RPUSH RPUSHX SADD SAVE SDIFFSTORE SET SETBIT SETEX SETNX
	SETRANGE SINTERSTORE SLAVEOF SMOVE SORT SPOP SPUBLISH SREM SUNIONSTORE SWAPDB TOUCH UNLINK
	VADD VREM VSETATTR XACK XACKDEL XADD XAUTOCLAIM XCFGSET XCLAIM XDEL XDELEX XGROUP XSETID XTRIM
	ZADD ZDIFFSTORE ZINCRBY ZINTERSTORE ZMPOP ZPOPMAX ZPOPMIN ZRANGESTORE ZREM ZREMRANGEBYLEX
	ZREMRANGEBYRANK ZREMRANGEBYSCORE ZUNIONSTORE`

// blocking is answered once, and maybe late. FLUSHALL and FLUSHDB are since redis 8, where others
// go on being answered meanwhile; SHUTDOWN waits for replicas.
const blocking = `
	BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN FLUSHALL FLUSHDB SFLUSH`

// stateful changes what the connection is to its next user.
const stateful = `
	ASKING AUTH QUIT READONLY READWRITE RESET SELECT`

// streaming begins with a reply and goes on with more. The connection ends with its user.
const streaming = `
	MONITOR PSYNC`

// subscribing is streaming, and in RESP3 answered by pushes alone.
const subscribing = `
	PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUBSCRIBE SUNSUBSCRIBE UNSUBSCRIBE`

// subcommands are those that do more than their command, by it and the arguments that tell.
//
//nolint:gochecknoglobals // never written; a map cannot be a constant.
var subcommands = map[string]Class{
	"SCRIPT DEBUG":        Private | Dirty,
	"SCRIPT KILL":         Rescues,
	"FUNCTION KILL":       Rescues,
	"HELLO 3":             Switches,
	"CLIENT REPLY OFF":    Unmatched,
	"CLIENT REPLY SKIP":   Unmatched,
	"CLUSTER SYNCSLOTS":   Unmatched, // slots that move; its ACK is not answered
	"DEBUG PROTOCOL PUSH": Unmatched,
}

const (
	// longest is the length of the longest name, with its subcommand.
	longest = 20
	// maxSubcommands is how many arguments tell.
	maxSubcommands = 2
)

// classes is the table, by names in upper case.
//
//nolint:gochecknoglobals // never written; a map cannot be a constant.
var classes = tabulate()

func tabulate() map[string]Class {
	table := map[string]Class{
		"CLIENT": Private | Dirty | byArgument, "CLUSTER": Writes | byArgument, "DEBUG": Private | Dirty | Writes | byArgument,
		"FAILOVER": Private | Writes, "FUNCTION": Writes | byArgument, "HELLO": Private | Dirty | byArgument,
		"REPLCONF": Private | Dirty | byArgument,
		"SCRIPT":   Writes | byArgument, "SYNC": Private | Dirty | Unmatched, "SHUTDOWN": Private | Dirty | Writes | Blocks,
		"WAIT": Private | Blocks | Waits, "WAITAOF": Private | Blocks | Waits, "XREAD": byArgument, "XREADGROUP": Writes | byArgument,

		// Transactions. Those that WATCH and then only read end with EXEC all the same, which needs
		// the primary.
		"MULTI": Private | Writes | Begins, "EXEC": Private | Writes | Ends, "DISCARD": Private | Ends,
		"WATCH": Private | Watches, "UNWATCH": Private | Unwatches,
	}
	for _, group := range []struct {
		names string
		class Class
	}{
		{reading, 0},
		{writing, Writes},
		{blocking, Private | Writes | Blocks},
		{stateful, Private | Dirty},
		{streaming, Private | Dirty},
		{subscribing, Private | Dirty | Pushed},
	} {
		for _, name := range strings.Fields(group.names) {
			table[name] = group.class
		}
	}
	return table
}

// ClassOf looks a command's name up, which is in upper case.
func ClassOf(name []byte) Class {
	if class, ok := classes[string(name)]; ok {
		return class
	}
	return unknown
}
