package embedded_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lighterman/lighterman/internal/redistest"
)

// show is a Lua function that writes a reply on one line: {a,b} is an array,
// <text> an error, OK! a status, false a missing value.
const show = `local function show(v)
	if type(v) ~= 'table' then return tostring(v) end
	if v.err then return '<' .. v.err .. '>' end
	if v.ok then return v.ok .. '!' end
	local out = {}
	for i, x in ipairs(v) do out[i] = show(x) end
	return '{' .. table.concat(out, ',') .. '}'
end
`

// luaCases say what our scripts may rely on, as seen on Redis 7.0.15. They run with five entries 1-0 to
// 5-0 in the stream s, of which w1 of group g has taken the first three, and with
// x in the string str. mini is what miniredis answers where it is wrong; it is
// empty where both agree. An answer that ends in ... is a prefix.
var luaCases = []struct {
	name, script, want, mini string
}{
	{
		name:   "XREADGROUP without BLOCK",
		script: `return show(redis.call('XREADGROUP','GROUP','g','w2','COUNT',1,'STREAMS','s','>'))`,
		want:   "{{s,{{4-0,{id,4}}}}}",
	},
	{
		name:   "XREADGROUP of nothing is false",
		script: `redis.call('XREADGROUP','GROUP','g','w2','STREAMS','s','>') return show(redis.call('XREADGROUP','GROUP','g','w2','STREAMS','s','>'))`,
		want:   "false",
	},
	{
		name:   "XREADGROUP with BLOCK is refused",
		script: `return show(redis.pcall('XREADGROUP','GROUP','g','w2','BLOCK',5,'COUNT',1,'STREAMS','s','>'))`,
		want:   "<ERR XREADGROUP command is not allowed with BLOCK option from scripts>",
		mini:   "{{s,{{4-0,{id,4}}}}}",
	},
	{
		name:   "XREADGROUP of one's history with a deleted entry",
		script: `redis.call('XDEL','s','2-0') return show(redis.call('XREADGROUP','GROUP','g','w1','STREAMS','s','0'))`,
		want:   "{{s,{{1-0,{id,1}},{2-0,false},{3-0,{id,3}}}}}",
		mini:   "{{s,{{1-0,{id,1}},{3-0,{id,3}}}}}",
	},
	{
		name:   "NOGROUP caught by redis.pcall",
		script: `return show(redis.pcall('XREADGROUP','GROUP','no','w2','STREAMS','s','>'))`,
		want:   "<NOGROUP No such key 's' or consumer group 'no' in XREADGROUP with GROUP option>",
	},
	{
		name:   "NOGROUP returned by redis.pcall keeps its code word",
		script: `return redis.pcall('XREADGROUP','GROUP','no','w2','STREAMS','s','>')`,
		want:   "NOGROUP No such key 's' or consumer group 'no' in XREADGROUP with GROUP option",
	},
	{
		name:   "NOGROUP raised by redis.call loses its code word on miniredis",
		script: `return redis.call('XREADGROUP','GROUP','no','w2','STREAMS','s','>')`,
		want:   "NOGROUP No such key 's' or consumer group 'no' in XREADGROUP with GROUP option script: ...",
		mini:   "ERR Error compiling script (new function): :9: NOGROUP No such key 's' or ...",
	},
	{
		name:   "XPENDING with IDLE and consumer",
		script: `local p = redis.call('XPENDING','s','g','IDLE',0,'-','+',2,'w1') return show({#p, p[1][1], p[1][2], p[1][4]})`,
		want:   "{2,1-0,w1,1}",
	},
	{
		name:   "XPENDING with IDLE leaves young entries out",
		script: `return show(redis.call('XPENDING','s','g','IDLE',100000,'-','+',10))`,
		want:   "{}",
	},
	{
		name:   "XPENDING from an exclusive ID",
		script: `local p = redis.pcall('XPENDING','s','g','(1-0','+',10) return p.err and show(p) or #p`,
		want:   "2",
		mini:   "<ERR Invalid stream ID specified as stream command argument>",
	},
	{
		name:   "XCLAIM JUSTID does not count as a delivery",
		script: `local c = redis.call('XCLAIM','s','g','w2',0,'1-0','JUSTID') return show({c, redis.call('XPENDING','s','g','1-0','1-0',1)[1][4]})`,
		want:   "{{1-0},1}",
		mini:   "{{1-0},2}",
	},
	{
		name:   "XCLAIM honours its minimum idle time",
		script: `return show(redis.call('XCLAIM','s','g','w2',100000,'1-0','JUSTID'))`,
		want:   "{}",
		mini:   "{1-0}",
	},
	{
		name:   "XCLAIM of an entry that is not pending",
		script: `return show(redis.call('XCLAIM','s','g','w2',0,'4-0','JUSTID'))`,
		want:   "{}",
	},
	{
		name:   "XCLAIM sets IDLE and RETRYCOUNT",
		script: `redis.call('XCLAIM','s','g','w1',0,'1-0','IDLE',7000,'RETRYCOUNT',4,'JUSTID') local p = redis.call('XPENDING','s','g','IDLE',7000,'-','+',10) return show({#p, p[1][1], p[1][4]})`,
		want:   "{1,1-0,4}",
	},
	{
		name:   "XCLAIM drops a deleted entry from the pending list",
		script: `redis.call('XDEL','s','1-0') return show({redis.call('XCLAIM','s','g','w2',0,'1-0','JUSTID'), redis.call('XPENDING','s','g')[1]})`,
		want:   "{{},2}",
	},
	{
		name:   "XAUTOCLAIM gives a cursor",
		script: `return show(redis.call('XAUTOCLAIM','s','g','w2',0,'0','COUNT',2,'JUSTID'))`,
		want:   "{3-0,{1-0,2-0},{}}",
	},
	{
		name:   "XAUTOCLAIM honours its minimum idle time",
		script: `return show(redis.call('XAUTOCLAIM','s','g','w2',100000,'0','JUSTID'))`,
		want:   "{0-0,{},{}}",
	},
	{
		name:   "XAUTOCLAIM lists deleted entries",
		script: `redis.call('XDEL','s','1-0') return show(redis.call('XAUTOCLAIM','s','g','w2',0,'0','JUSTID'))`,
		want:   "{0-0,{2-0,3-0},{1-0}}",
		mini:   "{0-0,{2-0,3-0},{}}",
	},
	{
		name:   "XADD MAXLEN ~ trims whole nodes only",
		script: `redis.call('XADD','s','MAXLEN','~',3,'*','id','6') return redis.call('XLEN','s')`,
		want:   "6",
		mini:   "3",
	},
	{
		name:   "XADD MAXLEN trims exactly",
		script: `redis.call('XADD','s','MAXLEN',3,'*','id','6') return redis.call('XLEN','s')`,
		want:   "3",
	},
	{
		name:   "XADD NOMKSTREAM",
		script: `return show(redis.call('XADD','no','NOMKSTREAM','*','id','6'))`,
		want:   "false",
	},
	{
		name:   "XACK and XDEL",
		script: `return show({redis.call('XACK','s','g','1-0','9-9'), redis.call('XDEL','s','1-0'), redis.call('XPENDING','s','g')[1], redis.call('XACK','s','no','1-0')})`,
		want:   "{1,1,2,0}",
	},
	{
		name:   "XINFO CONSUMERS",
		script: `local c = redis.call('XINFO','CONSUMERS','s','g')[1] return show({c[1], c[2], c[3], c[4], c[5], type(c[6])})`,
		want:   "{name,w1,pending,3,idle,number}",
	},
	{
		name:   "XINFO GROUPS has a lag",
		script: `local g = redis.call('XINFO','GROUPS','s')[1] return show({g[9], g[10], g[11], g[12]})`,
		want:   "{entries-read,3,lag,2}",
		mini:   "{entries-read,false,lag,5}",
	},
	{
		name:   "TIME",
		script: `local t = redis.call('TIME') return show({#t, #t[1], tonumber(t[2]) < 1000000})`,
		want:   "{2,10,true}",
	},
	{
		name:   "SET NX PX",
		script: `return show({redis.call('SET','k','1','NX','PX',5000), redis.call('SET','k','2','NX','PX',5000), redis.call('PTTL','k') > 4000, redis.call('GET','k')})`,
		want:   "{OK!,false,true,1}",
	},
	{
		name:   "PEXPIRE",
		script: `return show({redis.call('PEXPIRE','str',5000), redis.call('PTTL','str') > 4000, redis.call('PEXPIRE','no',1), redis.call('PTTL','no'), redis.call('PERSIST','str'), redis.call('PTTL','str')})`,
		want:   "{1,true,0,-2,1,-1}",
	},
	{
		name:   "PEXPIREAT follows TIME",
		script: `local now = redis.call('TIME')[1] * 1000 return show({redis.call('PEXPIREAT','str',string.format('%d', now + 60000)), redis.call('PTTL','str') > 50000})`,
		want:   "{1,true}",
	},
	{
		name:   "redis.pcall returns a table with err",
		script: `return show(redis.pcall('HSET','str','f','v'))`,
		want:   "<WRONGTYPE Operation against a key holding the wrong kind of value>",
	},
	{
		name:   "pcall around redis.call catches a string",
		script: `local ok, e = pcall(redis.call,'HSET','str','f','v') return show({ok, type(e), e})`,
		want:   "{false,string,WRONGTYPE Operation against a key holding the wrong kind of value}",
		mini:   "{false,string,:9: WRONGTYPE Operation against a key holding the wrong kind of value}",
	},
	{
		name:   "error_reply keeps its code word",
		script: `return redis.error_reply('FENCED epoch')`,
		want:   "FENCED epoch",
	},
	{
		name:   "error_reply of one word gets ERR in front",
		script: `return redis.error_reply('FENCED')`,
		want:   "ERR FENCED",
	},
	{
		name:   "a table with err is sent as it is",
		script: `return {err = 'FENCED'}`,
		want:   "FENCED",
	},
	{
		name:   "error with a table",
		script: `error({err = 'FENCED epoch'})`,
		want:   "FENCED epoch script: ...",
		mini:   "ERR Error compiling script (new function): table: 0x...",
	},
	{
		name:   "HSET of 1,000 fields via unpack",
		script: `local a = {} for i = 1, 1000 do a[2*i-1], a[2*i] = 'f' .. i, i end return redis.call('HSET','h',unpack(a))`,
		want:   "1000",
	},
	{
		name:   "unpack of 5,000",
		script: `local a = {} for i = 1, 5000 do a[i] = i end return redis.call('SADD','set',unpack(a))`,
		want:   "5000",
	},
	{
		name:   "unpack of 7,900",
		script: `local a = {} for i = 1, 7900 do a[i] = i end return redis.call('SADD','set',unpack(a))`,
		want:   "7900",
		mini:   "ERR Error compiling script (new function): :9: registry overflow ...",
	},
	{
		name:   "unpack of 8,000",
		script: `local a = {} for i = 1, 8000 do a[i] = i end return redis.call('SADD','set',unpack(a))`,
		want:   "ERR user_script:9: too many results to unpack script: ...",
		mini:   "ERR Error compiling script (new function): :9: registry overflow ...",
	},
	{
		name:   "XGROUP SETID",
		script: `return show(redis.pcall('XGROUP','SETID','s','g','$'))`,
		want:   "OK!",
		mini:   "<ERR 'XGROUP setid' not supported>",
	},
	{
		name:   "sha1hex",
		script: `return redis.sha1hex('abc')`,
		want:   "a9993e364706816aba3e25717850c26c9cd0d89d",
	},
	{
		name:   "cjson.decode",
		script: `local v = cjson.decode('{"a":[1,{"b":null}],"n":1791234567890123}') return show({#v.a, v.a[2].b == cjson.null, v.n == 1791234567890123})`,
		want:   "{2,true,true}",
	},
	{
		name:   "cjson.decode raises on bad input",
		script: `local ok, v = pcall(cjson.decode, '{') return show({ok, v == nil})`,
		want:   "{false,false}",
		mini:   "{true,true}",
	},
	{
		name:   "cjson.encode keeps null",
		script: `return cjson.encode({1, cjson.null})`,
		want:   "[1,null]",
		mini:   "[1]",
	},
	{
		name:   "cjson.encode of an empty table",
		script: `return cjson.encode({})`,
		want:   "{}",
		mini:   "[]",
	},
	{
		name:   "cjson.encode of a large integer",
		script: `return cjson.encode({1791234567890123})`,
		want:   "[1.7912345678901e+15]",
		mini:   "[1791234567890123]",
	},
	{
		name:   "a number of up to 14 digits becomes text",
		script: `return tostring(1791234567890) .. ' ' .. 1791234567890`,
		want:   "1791234567890 1791234567890",
	},
	{
		name:   "a number of more digits loses them; string.format does not",
		script: `return show({tostring(1791234567890123), string.format('%d', 1791234567890123)})`,
		want:   "{1.7912345678901e+15,1791234567890123}",
		mini:   "{1791234567890123,1791234567890123}",
	},
	{
		name:   "a number as an argument keeps all its digits",
		script: `redis.call('SET','n',1791234567890123) return redis.call('GET','n')`,
		want:   "1791234567890123",
	},
	{
		name:   "a fraction as an argument",
		script: `redis.call('SET','n',0.1) return redis.call('GET','n')`,
		want:   "0.10000000000000001",
		mini:   "0.1",
	},
	{
		name:   "bit, struct and cmsgpack",
		script: `return show({pcall(function() return bit.band(7,3) + #struct.pack('i4',1) + #cmsgpack.pack(1) end)})`,
		want:   "{true,8}",
		mini:   "{false,:16: Script attempted to access nonexistent global variable 'bit'}",
	},
	{
		name:   "goto is Lua 5.2",
		script: `goto done ::done:: return 1`,
		want:   "ERR Error compiling script (new function): user_script:9: '=' expected near 'done'",
		mini:   "1",
	},
	{
		name:   "a command that scripts may not call",
		script: `return show(redis.pcall('WAIT',0,0))`,
		want:   "<ERR This Redis command is not allowed from script>",
		mini:   "0",
	},
}

func TestLua_WhatMiniredisSharesWithRedis(t *testing.T) {
	t.Run("redis", func(t *testing.T) {
		rdb := redistest.Shared(t).Client()
		for _, c := range luaCases {
			t.Run(c.name, func(t *testing.T) { checkLua(t, rdb, c.script, c.want) })
		}
	})
	t.Run("miniredis", func(t *testing.T) {
		rdb := client(t, start(t))
		for _, c := range luaCases {
			want := c.want
			if c.mini != "" {
				want = c.mini
			}
			t.Run(c.name, func(t *testing.T) { checkLua(t, rdb, c.script, want) })
		}
	})
}

func checkLua(t *testing.T, rdb *redis.Client, script, want string) {
	t.Helper()
	ctx := t.Context()
	if _, err := rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.FlushAll(ctx)
		p.XGroupCreateMkStream(ctx, "s", "g", "0")
		for i := 1; i <= 5; i++ {
			p.XAdd(ctx, &redis.XAddArgs{Stream: "s", ID: fmt.Sprintf("%d-0", i), Values: []any{"id", i}})
		}
		p.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "w1", Streams: []string{"s", ">"}, Count: 3, Block: -1})
		p.Set(ctx, "str", "x", 0)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	v, err := rdb.Eval(ctx, show+script, []string{"s"}).Result()
	got := fmt.Sprint(v)
	if err != nil {
		got = err.Error()
	}
	prefix, cut := strings.CutSuffix(want, "...")
	if got != want && (!cut || !strings.HasPrefix(got, prefix)) {
		t.Errorf("%s\n got %q\nwant %q", script, got, want)
	}
}

func TestLua_EvalShaOfAnUnknownScriptIsNoScript(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		const want = "NOSCRIPT No matching script. Please use EVAL."
		err := rdb.EvalSha(t.Context(), strings.Repeat("0", 40), nil).Err()
		if err == nil || err.Error() != want || !redis.HasErrorPrefix(err, "NOSCRIPT") {
			t.Errorf("EVALSHA: %v, want %s", err, want)
		}
	})
}

func BenchmarkEvalSha(b *testing.B) {
	for name, rdb := range map[string]*redis.Client{"redis": redistest.Start(b).Client(), "miniredis": redistest.Mini(b)} {
		sha := rdb.ScriptLoad(b.Context(), `return redis.call('HSET', KEYS[1], 'f', ARGV[1])`).Val()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := rdb.EvalSha(b.Context(), sha, []string{"h"}, "v").Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
