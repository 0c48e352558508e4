package sentinel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// exampleCmd is the first of the two documented examples, with the one correction that it needs to
// compile: the SET's error is its reply's field Err.
func exampleCmd(client *sentinel.Client) error {
	conn, redisErr := client.GetMaster("bucket0")
	if redisErr != nil {
		return redisErr
	}
	defer client.CarefullyPutMaster("bucket0", conn, &redisErr)
	var i int
	if i, redisErr = conn.Cmd("GET", "foo").Int(); redisErr != nil {
		return redisErr
	}
	if redisErr = conn.Cmd("SET", "foo", i+1).Err; redisErr != nil {
		return redisErr
	}
	return nil
}

// doSomeThings is the second, as printed.
func doSomeThings(c *sentinel.Client) error {
	conn, redisErr := c.GetMaster("bucket0")
	if redisErr != nil {
		return redisErr
	}
	defer c.CarefullyPutMaster("bucket0", conn, &redisErr)

	var i int
	i, redisErr = conn.Cmd("GET", "foo").Int()
	if redisErr != nil {
		return redisErr
	}

	redisErr = conn.Cmd("SET", "foo", i*3).Err
	return redisErr
}

func TestTheDocumentedExamplesRun(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Names: []string{"bucket0", "bucket1"}, Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	client, err := sentinel.NewClient("tcp", strings.Join(cluster.SentinelAddrs(), ","), 100, "bucket0", "bucket1")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := client.GetMaster("bucket0")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Cmd("SET", "foo", 1).Err; err != nil {
		t.Fatal(err)
	}
	client.PutMaster("bucket0", conn)
	if err := errors.Join(exampleCmd(client), doSomeThings(client)); err != nil {
		t.Fatal(err)
	}
	conn, err = client.GetMaster("bucket0")
	if err != nil {
		t.Fatal(err)
	}
	defer client.PutMaster("bucket0", conn)
	if i, err := conn.Cmd("GET", "foo").Int(); i != 6 || err != nil {
		t.Errorf("foo is %d, %v; want (1+1)*3", i, err)
	}
	other, err := client.GetMaster("bucket1")
	if err != nil {
		t.Fatal(err)
	}
	defer client.PutMaster("bucket1", other)
	if reply := other.Cmd("GET", "foo"); !reply.IsNil() {
		t.Error("bucket1 has bucket0's key")
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	cluster := redis.StartCluster(t, redis.ClusterOptions{Sentinels: 1, Replicas: 1, Fast: true, DownAfter: time.Minute})
	for _, protocol := range []int{2, 3} {
		c := follow(t, cluster, sentinel.Options{Protocol: protocol})
		conn, err := c.GetMaster(name)
		if err != nil {
			t.Fatal(err)
		}
		conn.Cmd("FLUSHALL")
		for _, err := range []error{
			conn.Cmd("SET", "float", 1.5).Err, conn.Cmd("SET", "bytes", []byte("a\x00b")).Err,
			conn.Cmd("RPUSH", "list", []string{"x", "y"}, 3).Err, conn.Cmd("HSET", "hash", map[string]int{"one": 1}).Err,
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		show := func(values ...any) string { return fmt.Sprintf("%v", values) }
		must := func(v any, err error) any {
			t.Helper()
			if err != nil {
				t.Errorf("RESP%d: %v", protocol, err)
			}
			return v
		}
		got := show(
			must(conn.Cmd("GET", "float").Float64()), must(conn.Cmd("GET", "bytes").Bytes()), must(conn.Cmd("LLEN", "list").Int()),
			must(conn.Cmd("LLEN", "list").Int64()), must(conn.Cmd("LRANGE", "list", 0, -1).List()), must(conn.Cmd("HGETALL", "hash").Map()),
			must(conn.Cmd("PING").Str()), must(conn.Cmd("MGET", "float", "nothing").ListBytes()), must(conn.Cmd("LLEN", "list").Str()),
		)
		if want := "[1.5 [97 0 98] 3 3 [x y 3] map[one:1] PONG [[49 46 53] []] 3]"; got != want {
			t.Errorf("RESP%d: %s, want %s", protocol, got, want)
		}
		nothing := conn.Cmd("GET", "nothing")
		if _, err := nothing.Str(); !errors.Is(err, sentinel.ErrNilReply) || !nothing.IsNil() {
			t.Errorf("RESP%d: nil: %v", protocol, err)
		}
		for what, err := range map[string]error{
			"a list as string":   second(conn.Cmd("LRANGE", "list", 0, -1).Str()),
			"a string as list":   second(conn.Cmd("GET", "float").List()),
			"a word as number":   second(conn.Cmd("PING").Int()),
			"three as a map":     second(conn.Cmd("LRANGE", "list", 0, -1).Map()),
			"nil as list":        second(conn.Cmd("GET", "nothing").List()),
			"an error as number": second(conn.Cmd("LLEN", "float").Int()),
		} {
			if err == nil {
				t.Errorf("RESP%d: %s was converted", protocol, what)
			}
		}
		var ce *sentinel.CmdError
		if err := conn.Cmd("LLEN", "float").Err; !errors.As(err, &ce) || ce.Readonly() || ce.Loading() || !strings.HasPrefix(ce.Error(), "WRONGTYPE") {
			t.Errorf("RESP%d: %v", protocol, err)
		}
		if !(&sentinel.CmdError{Err: errors.New("READONLY You can't write against a read only replica.")}).Readonly() {
			t.Error("READONLY is not Readonly()")
		}
		c.PutMaster(name, conn)
		if _, err := c.GetMaster("nobody"); !errors.Is(err, sentinel.ErrUnknownPrimary) {
			t.Errorf("an unknown name: %v", err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
