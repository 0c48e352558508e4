package redis_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// dialTest connects to a fake or, without a network, to a real server.
func dialTest(t *testing.T, network *redis.FakeNet, addr string) *redis.Conn {
	t.Helper()
	var raw net.Conn
	var err error
	if network != nil {
		raw, err = network.Dial(t.Context(), "tcp", addr)
	} else {
		raw, err = net.DialTimeout("tcp", addr, patience)
	}
	check(t, err)
	c := redis.NewConn(raw)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// answer returns the reply or the error of a command as text.
func answer(t *testing.T, c *redis.Conn, line string) string {
	t.Helper()
	args := strings.Split(line, " ")
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "_", " ")
	}
	reply, err := c.Do(t.Context(), args...)
	if failure := redis.ReplyError(""); errors.As(err, &failure) {
		return "-" + failure.Error()
	}
	if err != nil {
		return "closed: " + err.Error()
	}
	return fmt.Sprintf("%#v", reply)
}

// serverScript holds commands whose replies are the same on every fresh server with one user
// app:pw; "!" at the beginning opens a new connection.
func serverScript() []string {
	return []string{
		"PING", "PING x", "PING a b", "ECHO x", "GET a", "SET a 1", "GET a", "INCR a", "INCR", "INCRBY a 5", "INCRBY a -2", "INCRBY a x", "INCRBY a", "INCRBY a 9223372036854775807", "EXPIRE a 100", "GET a", "EXPIRE no 1", "EXPIRE a x", "get a", "MGET a b a", "DEL a b", "EXISTS a", "SET a x", "INCR a",
		"SET a b FOO", "SET a b EX 0", "SET a b EX x", "SET a b EX", "SET a b NX", "SET n b XX", "SET n b NX PX 100000", "GET n", "FOO bar baz", "FOO", "DBSIZE",
		"LPUSH l a b", "RPUSH l c", "LPOP l", "RPOP l", "BLPOP l 1", "BLPOP l 0.01", "BLPOP l x", "BLPOP l -1", "BLPOP a 1", "LPUSH a x", "GET nil", "RPUSH l 1", "GET l", "BRPOP zz l 0",
		"SELECT 1", "GET a", "SELECT 99", "SELECT x", "SELECT 0",
		"EXEC", "DISCARD", "MULTI", "MULTI", "WATCH x", "GET", "EXEC", "MULTI", "SET m 1", "INCR m", "INCR a", "BLPOP no 0", "EXEC", "MULTI", "SET m 9", "DISCARD", "GET m",
		"WATCH w", "SET w 1", "MULTI", "GET w", "EXEC", "WATCH w", "MULTI", "GET w", "EXEC", "WATCH w", "SET w 2", "UNWATCH", "MULTI", "GET w", "EXEC",
		"WAIT 0 0", "WAIT 1 10", "WAIT x 1", "WAIT 0 x", "SUBSCRIBE", "PUBLISH c x",
		"AUTH x", "AUTH x y", "AUTH a b c", "AUTH app pw", "HELLO 3 AUTH x y", "HELLO x", "HELLO 4", "HELLO 2 FOO",
		"CLIENT", "CLIENT FOO", "CLIENT REPLY x", "CLIENT NO-EVICT x", "CLIENT NO-EVICT on", "CLIENT SETNAME a_b", "CLIENT GETNAME", "CLIENT SETNAME ab", "CLIENT GETNAME",
		"UNSUBSCRIBE", "PUNSUBSCRIBE x", "RESET", "CLIENT GETNAME", "FLUSHALL", "DBSIZE", "QUIT", "PING",
		"!", "SUBSCRIBE c", "GET a", "PING", "PING x", "PSUBSCRIBE c*", "UNSUBSCRIBE", "RESET", "GET a",
		"!", "HELLO 3 SETNAME me", "CLIENT GETNAME", "GET nil", "BLPOP no 0.01", "SUBSCRIBE d", "GET nil", "UNSUBSCRIBE d", "WATCH w", "SET w 3", "MULTI", "EXEC",
	}
}

// withoutID cuts the number of the connection out of a reply to HELLO.
func withoutID(reply string) string {
	before, after, ok := strings.Cut(reply, `"id"`)
	if !ok {
		return reply
	}
	_, after, _ = strings.Cut(after, `"mode"`)
	return before + after
}

func TestFakeServerAnswersAsRedis(t *testing.T) {
	t.Parallel()
	real := redis.StartServer(t, redis.ServerOptions{User: "app", UserPassword: "pw"})
	network := redis.StartFakeNet(t)
	fake := network.Server(redis.FakeServerOptions{Users: map[string]string{"app": "pw"}})
	compare(t, serverScript(), func() (*redis.Conn, *redis.Conn) {
		return dialTest(t, nil, real.Addr()), dialTest(t, network, fake.Addr())
	})
}

// compare sends the script to a real server and to a fake.
func compare(t *testing.T, script []string, dial func() (atReal, atFake *redis.Conn)) {
	t.Helper()
	atReal, atFake := dial()
	for _, line := range script {
		if line == "!" {
			atReal, atFake = dial()
			continue
		}
		want, got := withoutID(answer(t, atReal, line)), withoutID(answer(t, atFake, line))
		if strings.HasPrefix(want, "closed") && strings.HasPrefix(got, "closed") {
			continue
		}
		if got != want {
			t.Errorf("%s\nfake: %s\nreal: %s", line, got, want)
		}
	}
}

func TestFakeServerAnswersStrangersAsRedis(t *testing.T) {
	t.Parallel()
	real := redis.StartServer(t, redis.ServerOptions{Password: "secret", User: "app", UserPassword: "pw"})
	network := redis.StartFakeNet(t)
	fake := network.Server(redis.FakeServerOptions{Password: "secret", Users: map[string]string{"app": "pw"}})
	script := []string{
		"PING", "GET a", "HELLO 3", "HELLO", "FOO", "MULTI", "AUTH wrong", "AUTH app wrong", "SUBSCRIBE x", "AUTH secret", "GET a", "RESET", "GET a", "AUTH app pw", "GET a",
		"!", "HELLO 3 AUTH app pw", "GET a", "RESET", "GET a", "!", "HELLO 3 AUTH default secret SETNAME x", "CLIENT GETNAME", "!", "QUIT", "PING",
	}
	compare(t, script, func() (*redis.Conn, *redis.Conn) {
		return dialTest(t, nil, real.Addr()), dialTest(t, network, fake.Addr())
	})
}

func TestFakeReplicaAnswersAsRedis(t *testing.T) {
	t.Parallel()
	primary := redis.StartServer(t)
	real := redis.StartServer(t, redis.ServerOptions{ReplicaOf: primary.Addr()})
	network := redis.StartFakeNet(t)
	leader := network.Server(redis.FakeServerOptions{Addr: primary.Addr()})
	fake := network.Server(redis.FakeServerOptions{})
	fake.Follow(leader, 0)
	awaitReplica(t, primary, real)
	script := []string{"GET a", "SET a 1", "INCR", "BLPOP a 1", "MULTI", "GET a", "SET a 1", "EXEC", "WAIT 0 0", "HELLO", "PUBLISH a b", "FLUSHALL"}
	compare(t, script, func() (*redis.Conn, *redis.Conn) {
		return dialTest(t, nil, real.Addr()), dialTest(t, network, fake.Addr())
	})
	var shapes []string
	for _, c := range []*redis.Conn{dialTest(t, nil, real.Addr()), dialTest(t, network, fake.Addr()), dialTest(t, nil, primary.Addr()), dialTest(t, network, leader.Addr())} {
		reply, err := c.Do(t.Context(), "ROLE")
		check(t, err)
		shapes = append(shapes, shape(reply))
	}
	if shapes[0] != shapes[1] || shapes[2] != shapes[3] {
		t.Errorf("ROLE: %q", shapes)
	}
}

// shape describes the types in a reply, and of maps the keys.
func shape(reply any) string {
	switch reply := reply.(type) {
	case []any:
		if len(reply)%2 == 0 && len(reply) >= 10 && reply[0] == "name" {
			return "fields" + fieldNames(reply)
		}
		parts := make([]string, 0, len(reply))
		for _, item := range reply {
			parts = append(parts, shape(item))
		}
		return "[" + strings.Join(slices.Compact(parts), " ") + "]"
	case map[any]any:
		names := make([]string, 0, len(reply))
		for name := range maps.Keys(reply) {
			names = append(names, fmt.Sprint(name))
		}
		slices.Sort(names)
		return fmt.Sprint("map", names)
	default:
		return fmt.Sprint(reflect.TypeOf(reply))
	}
}

func fieldNames(flat []any) string {
	var names []string
	for i := 0; i < len(flat); i += 2 {
		names = append(names, fmt.Sprintf("%v:%T", flat[i], flat[i+1]))
	}
	return fmt.Sprint(names)
}

// sentinelScript holds commands that every sentinel of "mymaster" answers alike.
func sentinelScript() []string {
	return []string{
		"SENTINEL MASTER nope", "SENTINEL GET-MASTER-ADDR-BY-NAME nope", "SENTINEL REPLICAS nope", "SENTINEL SLAVES nope", "SENTINEL SENTINELS nope", "SENTINEL CKQUORUM nope",
		"SENTINEL CKQUORUM mymaster", "SENTINEL", "SENTINEL FOO", "SENTINEL MASTER", "SENTINEL MASTERS x", "SENTINEL MYID x", "GET a", "ECHO a", "ROLE", "PING", "PING x", "RESET", "SELECT 1", "MULTI",
		"HELLO", "HELLO 3", "HELLO 4", "PUBLISH a b", "CLIENT SETNAME x", "CLIENT GETNAME", "SUBSCRIBE a", "GET a", "UNSUBSCRIBE a", "AUTH x", "SENTINEL FAILOVER nope",
		"SENTINEL GET-MASTER-ADDR-BY-NAME mymaster",
	}
}

func TestFakeSentinelAnswersAsTheRealOne(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true})
	network := redis.StartFakeNet(t)
	fakes := network.Cluster(redis.FakeClusterOptions{})
	primary, err := c.Primary(t.Context(), mymaster)
	check(t, err)
	fakes.Sentinels[0].Update(mymaster, func(w *redis.Watched) { w.Primary = primary.Addr() })
	dial := func() (*redis.Conn, *redis.Conn) {
		return dialTest(t, nil, c.SentinelAddrs()[0]), dialTest(t, network, fakes.SentinelAddrs()[0])
	}
	compare(t, sentinelScript(), dial)
	for _, hello := range []string{"2", "3"} {
		atReal, atFake := dial()
		for _, line := range []string{
			"HELLO " + hello, "SENTINEL MASTER mymaster", "SENTINEL MASTERS", "SENTINEL REPLICAS mymaster", "SENTINEL SLAVES mymaster", "SENTINEL SENTINELS mymaster",
			"SENTINEL MYID", "CLIENT ID", "INFO", "CLIENT LIST",
		} {
			args := strings.Split(line, " ")
			want, err := atReal.Do(t.Context(), args...)
			check(t, err)
			got, err := atFake.Do(t.Context(), args...)
			check(t, err)
			if shape(got) != shape(want) {
				t.Errorf("protocol %s, %s\nfake: %s\nreal: %s", hello, line, shape(got), shape(want))
			}
		}
	}
}

// events collects what a sentinel publishes, channel and payload in one line, without the
// addresses' digits.
func events(t *testing.T, c *redis.Conn, until string) []string {
	t.Helper()
	check(t, c.Send("PSUBSCRIBE", "*"))
	var seen []string
	for {
		message, err := c.Receive()
		if err != nil {
			t.Fatalf("after %q: %v", seen, err)
		}
		words, _ := message.([]any)
		if len(words) != 4 {
			continue // the confirmation
		}
		channel, payload := fmt.Sprint(words[2]), fmt.Sprint(words[3])
		seen = append(seen, channel+" "+payload)
		if channel == until {
			return seen
		}
	}
}

func TestFakeEventsLookLikeRealOnes(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Replicas: 1, Sentinels: 1})
	network := redis.StartFakeNet(t)
	fakes := network.Cluster(redis.FakeClusterOptions{Replicas: 1, Sentinels: 1})
	// The fakes take the addresses of the real ones, so that the texts can be compared.
	old, replica := c.Servers(mymaster)[0], c.Servers(mymaster)[1]
	atReal := dialTest(t, nil, c.SentinelAddrs()[0])
	check(t, atReal.SetDeadline(giveUp()))
	check(t, c.Failover(t.Context(), mymaster))
	var fromReal []string
	for _, line := range events(t, atReal, "+switch-master") {
		switch channel, _, _ := strings.Cut(line, " "); channel {
		case "+selected-slave", "+promoted-slave", "+switch-master":
			fromReal = append(fromReal, line)
		}
	}
	atFake := dialTest(t, network, fakes.SentinelAddrs()[0])
	check(t, atFake.SetDeadline(giveUp()))
	go func() {
		for fakes.Sentinels[0].Publish("+sentinel", "x") == 0 {
			continue
		}
		fakes.Failover(fakes.Servers[1])
	}()
	fromFake := events(t, atFake, "+switch-master")
	fromFake = slices.DeleteFunc(fromFake, func(line string) bool { return strings.HasPrefix(line, "+sentinel ") })
	named := strings.NewReplacer(
		fakes.Servers[0].Addr(), old.Addr(), fakes.Servers[1].Addr(), replica.Addr(),
		strings.ReplaceAll(fakes.Servers[0].Addr(), ":", " "), strings.ReplaceAll(old.Addr(), ":", " "),
		strings.ReplaceAll(fakes.Servers[1].Addr(), ":", " "), strings.ReplaceAll(replica.Addr(), ":", " "))
	for i := range fromFake {
		fromFake[i] = named.Replace(fromFake[i])
	}
	if !slices.Equal(fromFake, fromReal) {
		t.Errorf("\nfake: %q\nreal: %q", fromFake, fromReal)
	}
}

func TestDemotionCutsOffClientsAsInAFakeCluster(t *testing.T) {
	t.Parallel()
	c := redis.StartCluster(t, redis.ClusterOptions{Fast: true, Replicas: 1, Sentinels: 1})
	old, replica := c.Servers(mymaster)[0], c.Servers(mymaster)[1]
	atOld, atReplica := dialTest(t, nil, old.Addr()), dialTest(t, nil, replica.Addr())
	want(t, atOld, "PONG", "PING")
	want(t, atReplica, "PONG", "PING")
	check(t, c.Failover(t.Context(), mymaster))
	check(t, c.AwaitSettled(t.Context())) // which it may also be before the failover has begun
	for _, conn := range []*redis.Conn{atOld, atReplica} {
		var err error
		for deadline := giveUp(); err == nil && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			_, err = conn.Do(t.Context(), "PING")
		}
		if err == nil {
			t.Error("a connection has survived the change of role")
		}
	}
}
