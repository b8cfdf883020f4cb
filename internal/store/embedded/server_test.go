package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCommands(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s)
	c.want("OK", "SET", "k", "v\r\n\x00*1")
	c.want("v\r\n\x00*1", "GET", "k")
	c.want("nil", "GET", "none")
	c.want("3", "RPUSH", "l", "1", "2", "3")
	c.want("[1 2 3]", "LRANGE", "l", "0", "-1")
	c.want("WRONGTYPE Operation against a key holding the wrong kind of value", "INCR", "l")
	c.want("OK", "MULTI")
	c.want("QUEUED", "INCR", "n")
	c.want("[1]", "EXEC")
	c.want("7", "EVAL", "return redis.call('INCRBY', KEYS[1], ARGV[1])", "1", "m", "7")
	if got := c.do("NOSUCH", "x"); !strings.HasPrefix(got, "ERR unknown command") {
		t.Errorf("%q", got)
	}
	other := dial(t, s)
	other.want("1", "GET", "n")
}

// TestPipelineOfTenThousand is what dead-locks on net.Pipe: the client reads nothing before it has written all.
func TestPipelineOfTenThousand(t *testing.T) {
	c := dial(t, start(t, Options{}))
	value := strings.Repeat("v", 1000)
	c.want("OK", "SET", "k", value)
	const count = 10_000
	if _, err := io.WriteString(c.conn, strings.Repeat(request("GET", "k"), count)); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if got := c.reply(); got != value {
			t.Fatalf("reply %d: %.50q", i, got)
		}
	}
}

// TestRepliesComeOneByOne: a client that waits for the first reply before it sends the rest of a command gets it.
func TestRepliesComeOneByOne(t *testing.T) {
	c := dial(t, start(t, Options{}))
	ping := request("PING")
	for cut := range len(ping) {
		io.WriteString(c.conn, ping+ping[:cut])
		if got := c.reply(); got != "PONG" {
			t.Fatalf("cut at %d: %q", cut, got)
		}
		io.WriteString(c.conn, ping[cut:])
		if got := c.reply(); got != "PONG" {
			t.Fatalf("cut at %d, the rest: %q", cut, got)
		}
	}
}

// TestExpiryFollowsTheClock: no command moves it, and no command is needed for it.
func TestExpiryFollowsTheClock(t *testing.T) {
	var now, asked atomic.Int64
	now.Store(1_000_000)
	s := start(t, Options{Clock: func() time.Time {
		asked.Add(1)
		return time.UnixMilli(now.Load())
	}})
	c := dial(t, s)
	c.want("OK", "SET", "soon", "v", "PX", "1000")
	c.want("OK", "SET", "later", "v", "EX", "100")
	c.want("OK", "SET", "never", "v")
	c.want("1000", "PTTL", "soon")
	now.Add(999)
	eventually(t, "the clock moves", func() bool { return c.do("PTTL", "soon") == "1" })
	c.want("v", "GET", "soon")
	now.Add(1)
	eventually(t, "the key expires", func() bool { return c.do("GET", "soon") == "nil" })
	c.want("v", "GET", "later")
	c.want("99000", "PTTL", "later")
	c.want("v", "GET", "never")
	c.want("-1", "PTTL", "never")
	// A clock that is set back expires nothing, and goes on from there.
	now.Add(-500_000)
	asked.Store(0)
	eventually(t, "the clock was looked at", func() bool { return asked.Load() > 1 })
	c.want("99000", "PTTL", "later")
	now.Add(99_000)
	eventually(t, "the key expires", func() bool { return c.do("EXISTS", "later") == "0" })
}

// TestExpiryByRealTime is the default clock.
func TestExpiryByRealTime(t *testing.T) {
	c := dial(t, start(t, Options{}))
	begun := time.Now()
	c.want("OK", "SET", "k", "v", "PX", "300")
	eventually(t, "the key expires", func() bool { return c.do("EXISTS", "k") == "0" })
	if took := time.Since(begun); took < 200*time.Millisecond {
		t.Errorf("after %v already", took)
	}
}

// TestCommandsThatReadTheClock do so while it moves, much faster than it does by itself; the race detector looks on. EXAT, XCLAIM and
// TIME are by real time.
func TestCommandsThatReadTheClock(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s)
	c.want("OK", "XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
	begun := time.Now()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				s.now.age(1)
			}
		}
	}()
	for range 500 {
		c.want("OK", "SET", "k", "v", "EXAT", fmt.Sprint(begun.Unix()+1000))
		c.want("[]", "XCLAIM", "s", "g", "me", "0", "1-1")
	}
	close(stop)
	<-ended
	var left int
	if fmt.Sscan(c.do("TTL", "k"), &left); left < 990 || left > 1000 {
		t.Errorf("%d s are left of 1000", left)
	}
	var sec int64
	if fmt.Sscanf(c.do("TIME"), "[%d", &sec); sec < begun.Unix() || sec > time.Now().Unix() {
		t.Errorf("it is %d there, and %d here", sec, begun.Unix())
	}
}

// TestCommandsDoNotSweep: with 20,000 keys, a sweep for each command would take 3,000 of them longer than ten seconds.
func TestCommandsDoNotSweep(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s)
	var keys strings.Builder
	for i := range 20_000 {
		keys.WriteString(request("SET", fmt.Sprint("key", i), "v", "EX", "1000"))
	}
	go io.WriteString(c.conn, keys.String())
	for range 20_000 {
		c.reply()
	}
	begun := time.Now()
	for i := range 3000 {
		c.want("v", "GET", fmt.Sprint("key", i))
	}
	took := time.Since(begun)
	sweep := s.now.age(time.Millisecond)
	t.Logf("3000 GETs in %v, a step of the clock takes %v", took, sweep)
	if took > 1000*sweep {
		t.Errorf("3000 GETs took %v, with steps of %v", took, sweep)
	}
}

func TestFlushForgetsKeysAndScripts(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s)
	c.want("OK", "SET", "k", "v")
	sha := c.do("SCRIPT", "LOAD", "return 1")
	c.want("1", "EVALSHA", sha, "0")
	second := dial(t, s)
	second.want("OK", "SELECT", "3")
	second.want("OK", "SET", "k", "v")
	s.Flush()
	c.want("nil", "GET", "k")
	second.want("nil", "GET", "k")
	c.want("NOSCRIPT No matching script. Please use EVAL.", "EVALSHA", sha, "0")
}

func TestPublishAndSubscribe(t *testing.T) {
	s := start(t, Options{})
	sub, pub := dial(t, s), dial(t, s)
	sub.want("[subscribe news 1]", "SUBSCRIBE", "news")
	pub.want("1", "PUBLISH", "news", "hello")
	if got := sub.reply(); got != "[message news hello]" {
		t.Errorf("%q", got)
	}
	sub.conn.Close() // its goroutines end with it; TestMain looks
	eventually(t, "nobody listens any more", func() bool { return pub.do("PUBLISH", "news", "hello") == "0" })
}

func TestBlockingCommands(t *testing.T) {
	s := start(t, Options{})
	waiting, c := dial(t, s), dial(t, s)
	io.WriteString(waiting.conn, request("BRPOP", "jobs", "50"))
	c.want("1", "LPUSH", "jobs", "a")
	if got := waiting.reply(); got != "[jobs a]" {
		t.Errorf("%q", got)
	}

	// One that has left takes nothing.
	gone := dial(t, s)
	io.WriteString(gone.conn, request("BRPOP", "jobs", "0"))
	eventually(t, "it waits", func() bool { return busy(s) == 1 })
	gone.conn.Close()
	eventually(t, "it has ended", func() bool { return busy(s) == 0 })
	c.want("1", "LPUSH", "jobs", "b")
	c.want("1", "LLEN", "jobs")
}

// busy is how many sessions run a command.
func busy(s *Server) (n int) {
	s.now.mu.Lock()
	defer s.now.mu.Unlock()
	for ss := range s.now.sessions {
		if ss.busy.Load() {
			n++
		}
	}
	return n
}

// TestCloseEndsEverything, also what waits in a command; TestMain looks for goroutines.
func TestCloseEndsEverything(t *testing.T) {
	s := start(t, Options{})
	var clients []*client
	for i := range 50 {
		c := dial(t, s)
		clients = append(clients, c)
		switch i % 3 {
		case 0:
			io.WriteString(c.conn, request("BLPOP", "jobs", "0"))
		case 1:
			c.do("SUBSCRIBE", "news")
		}
	}
	eventually(t, "some wait", func() bool { return busy(s) == 17 })
	var all sync.WaitGroup
	for range 3 {
		all.Go(s.Close)
	}
	all.Wait()
	for i, c := range clients {
		if got, err := c.read(); err == nil && i%3 != 1 {
			t.Errorf("client %d read %q", i, got)
		}
	}
	if _, err := s.Dial(context.Background()); !errors.Is(err, errClosed) {
		t.Errorf("Dial: %v", err)
	}
	s.Flush() // harmless
}

func TestDialWithAContextThatHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := start(t, Options{}).Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestWhatIsNoRequestEndsItsConnection and nothing else.
func TestWhatIsNoRequestEndsItsConnection(t *testing.T) {
	s := start(t, Options{})
	for _, bytes := range []string{
		"PING\r\n", "*\r\n", "*0\r\n", "*-1\r\n", "*1\n", "*x\r\n", "*1\r\n:3\r\n", "*1\r\n$-1\r\n", "*1\r\n$3\r\nGETxx", "*99999999\r\n",
		"*1\r\n$999999999999\r\n", "*1\r\n$99999999999999999999999\r\n", "\r\n\r\n\r\n\r\n", "*1\r\n$\r\n\r\n", strings.Repeat("*", 1<<20),
	} {
		c := dial(t, s)
		io.WriteString(c.conn, bytes)
		answer, err := io.ReadAll(c.r)
		if err != nil || len(answer) > 0 && !strings.HasPrefix(string(answer), "-ERR Protocol error") {
			t.Errorf("%.40q: %.100q, %v", bytes, answer, err)
		}
	}
	dial(t, s).want("PONG", "PING")
}

// TestPanicReplacesTheServer: miniredis panics when a script returns a function, with its lock held.
func TestPanicReplacesTheServer(t *testing.T) {
	s, logs := startWatched(t, Options{})
	c, waiting, idle := dial(t, s), dial(t, s), dial(t, s)
	c.want("OK", "SET", "k", "v")
	io.WriteString(waiting.conn, request("BLPOP", "jobs", "0"))
	eventually(t, "it waits", func() bool { return busy(s) == 1 })
	io.WriteString(c.conn, request("EVAL", "return function() end", "0"))
	for what, c := range map[string]*client{"that panicked": c, "that waits": waiting, "that is idle": idle} {
		if got, err := c.read(); err != io.EOF {
			t.Errorf("the connection %s: %q, %v", what, got, err)
		}
	}
	fresh := dial(t, s)
	fresh.want("nil", "GET", "k")
	fresh.want("OK", "SET", "k", "v PX")
	fresh.want("OK", "SET", "soon", "v", "PX", "1")
	eventually(t, "its clock runs", func() bool { return fresh.do("GET", "soon") == "nil" })
	if got := logs.FilterMessage("the embedded redis has crashed: an empty one takes its place").Len(); got != 1 || logs.Len() != 1 {
		t.Errorf("the log: %v", logs.All())
	}
}

// TestRandomCommands: whatever is asked, the process lives and the server answers. A crash of it is allowed, and counted.
func TestRandomCommands(t *testing.T) {
	s, logs := startWatched(t, Options{})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	names := strings.Fields(`GET SET INCR APPEND STRLEN GETRANGE MGET MSET SETEX GETSET INCRBYFLOAT SETNX DEL EXISTS EXPIRE PERSIST RENAME TYPE KEYS SCAN
		HSET HGET HGETALL HDEL HINCRBY HKEYS HRANDFIELD HSCAN LPUSH RPUSH LPOP RPOP LRANGE LREM LTRIM LINDEX LSET LINSERT LPOS LMOVE RPOPLPUSH
		SADD SREM SMEMBERS SISMEMBER SPOP SRANDMEMBER SINTER SUNION SDIFF SSCAN SMOVE ZADD ZREM ZRANGE ZREVRANGE ZRANGEBYSCORE ZRANGEBYLEX ZRANK
		ZREVRANK ZSCORE ZINCRBY ZCOUNT ZPOPMIN ZPOPMAX ZRANDMEMBER ZUNION ZINTER ZUNIONSTORE ZSCAN ZREMRANGEBYRANK XADD XRANGE XREVRANGE XLEN XDEL
		XTRIM XREAD XINFO XGROUP XACK XCLAIM XPENDING XAUTOCLAIM PFADD PFCOUNT PFMERGE GEOADD GEORADIUS GEODIST GEOPOS MULTI EXEC DISCARD WATCH
		EVAL EVALSHA SCRIPT OBJECT DUMP RESTORE COPY MOVE SELECT SWAPDB TTL PTTL ECHO PING TIME COMMAND CLIENT INFO CLUSTER HELLO AUTH BITCOUNT
		BITOP BITPOS GETBIT MEMORY TOUCH UNLINK DBSIZE RANDOMKEY LATENCY nonsense`)
	words := []string{"", "a", "b", "c", "0", "1", "-1", "2", "3", "10", "-9223372036854775808", "9223372036854775807", "1e400", "nan", "inf", "-inf", "(1", "[a", "+", "-",
		"*", "$", ">", "COUNT", "LIMIT", "WITHSCORES", "STREAMS", "GROUP", "CREATE", "MKSTREAM", "MAXLEN", "~", "=", "BYSCORE", "BYLEX", "REV", "NX", "XX", "GT", "CH",
		"WEIGHTS", "AGGREGATE", "SUM", "MATCH", "FROMLONLAT", "km", "HELP", "return 1", "return {1,{2,nil},false}", "return redis.call(KEYS[1])", "error('x')",
		"\x00\r\n", "é\xff", strings.Repeat("x", 3000), fmt.Sprint(math.MaxUint32)}
	var c *client
	for range 20_000 {
		if c == nil {
			c = dial(t, s)
		}
		args := []string{names[random.IntN(len(names))]}
		for range random.IntN(8) {
			args = append(args, words[random.IntN(len(words))])
		}
		if _, err := io.WriteString(c.conn, request(args...)); err == nil {
			_, err = c.read()
			if err == nil {
				continue
			}
		}
		c.conn.Close()
		c = nil
	}
	dial(t, s).want("PONG", "PING")
	for _, line := range logs.All() {
		t.Logf("crash: %v %v", line.ContextMap()["command"], line.ContextMap()["panic"])
	}
}

// FuzzReadRequest: it takes no more than there is, and what it takes it can be asked again.
func FuzzReadRequest(f *testing.F) {
	for _, seed := range []string{request("GET", "k"), request("SET", "", "\r\n"), "*1\r\n$1\r\nx\r\n*2\r\n", "*0\r\n", "*-1\r\n", "*1\r\n$-1\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := bufio.NewReader(strings.NewReader(in))
		args, err := readRequest(r)
		if err != nil {
			return
		}
		if len(args) == 0 {
			t.Fatal("no command")
		}
		again, err := readRequest(bufio.NewReader(strings.NewReader(request(args...))))
		if err != nil || fmt.Sprintf("%q", again) != fmt.Sprintf("%q", args) {
			t.Fatalf("%q became %q, %v", args, again, err)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	c := dial(b, start(b, Options{}))
	c.conn.SetDeadline(time.Time{})
	b.ReportAllocs()
	for b.Loop() {
		c.do("SET", "k", "v")
	}
}
