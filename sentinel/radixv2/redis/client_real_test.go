package redis_test

import (
	"errors"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	servers "github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/pubsub"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
)

func dial(t *testing.T, addr string, timeout time.Duration) *redis.Client {
	t.Helper()
	c, err := redis.DialTimeout("tcp", addr, timeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestClient(t *testing.T) {
	server := servers.StartServer(t)
	c := dial(t, server.Addr(), 0)
	if c.Network != "tcp" || c.Addr != server.Addr() {
		t.Errorf("%s %s", c.Network, c.Addr)
	}
	c.PipeAppend("HMSET", "h", map[string]int{"a": 1}, []any{"b", 2.5, "c", true})
	c.PipeAppend("HGETALL", "h")
	c.PipeAppend("LLEN", "h")
	c.PipeAppend("GET", "none")
	if r := c.PipeResp(); r.Err != nil || !r.IsType(redis.SimpleStr) {
		t.Errorf("HMSET: %v", r)
	}
	if m, err := c.PipeResp().Map(); err != nil || !reflect.DeepEqual(m, map[string]string{"a": "1", "b": "2.5", "c": "1"}) {
		t.Errorf("HGETALL: %v, %v", m, err)
	}
	if r := c.PipeResp(); !r.IsType(redis.AppErr) || !strings.HasPrefix(r.Err.Error(), "WRONGTYPE") || !redis.IsReply(r.Err) {
		t.Errorf("LLEN: %v", r)
	}
	c.PipeAppend("PING")
	if commands, replies := c.PipeClear(); commands != 1 || replies != 1 {
		t.Errorf("cleared %d, %d", commands, replies)
	}
	if err := c.PipeResp().Err; !errors.Is(err, redis.ErrPipelineEmpty) {
		t.Errorf("an empty pipeline: %v", err)
	}
	if _, err := c.Cmd("GET", "none").Str(); !errors.Is(err, redis.ErrRespNil) {
		t.Errorf("nil: %v", err)
	}
	if f, err := c.Cmd("HGET", "h", "b").Float64(); f != 2.5 || err != nil {
		t.Errorf("a float: %v, %v", f, err)
	}
	if n, err := c.Cmd("HLEN", "h").Int64(); n != 3 || err != nil {
		t.Errorf("a number: %v, %v", n, err)
	}
	if list, err := c.Cmd("HMGET", "h", "a", "x").List(); err != nil || !reflect.DeepEqual(list, []string{"1", ""}) {
		t.Errorf("a list: %q, %v", list, err)
	}
	short := dial(t, server.Addr(), 50*time.Millisecond)
	if r := short.Cmd("BLPOP", "none", 5); !redis.IsTimeout(r) || short.LastCritical == nil {
		t.Errorf("a reply that is late: %v", r)
	}
	if _, err := c.Detach(); err != nil {
		t.Errorf("detached: %v", err)
	}
	if r := c.Cmd("PING"); !r.IsType(redis.Err) || redis.IsTimeout(r) {
		t.Errorf("after that: %v", r)
	}
}

// A client that is closed is none of the server's any more.
func TestCloseEndsTheConnection(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close the connection, too
	server := servers.StartServer(t)
	c, watcher := dial(t, server.Addr(), 0), dial(t, server.Addr(), 0)
	listed := func() bool {
		list, err := watcher.Cmd("CLIENT", "LIST").Str()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(list, "name=leaves")
	}
	if err := c.Cmd("CLIENT", "SETNAME", "leaves").Err; err != nil || !listed() {
		t.Fatalf("it is not listed, %v", err)
	}
	if err := errors.Join(c.Close(), c.Close()); err != nil {
		t.Error(err)
	}
	for began := time.Now(); listed(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the server has it still")
		}
	}
}

func TestSubClient(t *testing.T) {
	server := servers.StartServer(t)
	c := dial(t, server.Addr(), 100*time.Millisecond)
	sub := pubsub.NewSubClient(c)
	if r := sub.Subscribe("a", "b"); r.Type != pubsub.Subscribe || r.SubCount != 2 || r.Err != nil {
		t.Errorf("Subscribe: %+v", r)
	}
	if r := sub.PSubscribe("x*"); r.SubCount != 3 {
		t.Errorf("PSubscribe: %+v", r)
	}
	if r := sub.Receive(); !r.Timeout() || c.LastCritical != nil {
		t.Errorf("nothing: %+v", r)
	}
	for _, channel := range []string{"a", "xy"} {
		if _, err := server.Do(t.Context(), "PUBLISH", channel, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	if r := sub.Ping(); r.Type != pubsub.Pong {
		t.Errorf("Ping: %+v", r)
	}
	if r := sub.Receive(); r.Type != pubsub.Message || r.Channel != "a" || r.Message != "hello" {
		t.Errorf("a message: %+v", r)
	}
	if r := sub.Receive(); r.Pattern != "x*" || r.Channel != "xy" {
		t.Errorf("a message by pattern: %+v", r)
	}
	if r := sub.Unsubscribe("a"); r.Type != pubsub.Unsubscribe || r.SubCount != 2 {
		t.Errorf("Unsubscribe: %+v", r)
	}
	if r := sub.PUnsubscribe("x*"); r.SubCount != 1 {
		t.Errorf("PUnsubscribe: %+v", r)
	}
}

func TestNewResp(t *testing.T) {
	for _, x := range []struct {
		value any
		want  string
	}{
		{"a", `Resp(Str "a")`},
		{nil, `Resp(Nil)`},
		{uint8(7), `Resp(Int 7)`},
		{1.5, `Resp(Str "1.5")`},
		{true, `Resp(Str "1")`},
		{errors.New("no"), `Resp(AppErr no)`},
		{[]any{"a", 1, []string{"b"}}, `Resp(Resp(Str "a") Resp(Int 1) Resp(Resp(Str "b")))`},
		{map[string]int{"k": 1}, `Resp(Resp(Str "k") Resp(Int 1))`},
	} {
		if got := redis.NewResp(x.value).String(); got != x.want {
			t.Errorf("NewResp(%v) = %s, want %s", x.value, got, x.want)
		}
	}
	if got := redis.NewRespFlattenedStrings([]any{"a", []int{1, 2}, map[string]bool{"k": false}}).String(); got != `Resp(Resp(Str "a") Resp(Str "1") Resp(Str "2") Resp(Str "k") Resp(Str "0"))` {
		t.Error(got)
	}
	if key, err := redis.KeyFromArgs([]any{[]string{"k"}}, "v"); key != "k" || err != nil {
		t.Errorf("%q, %v", key, err)
	}
	if _, err := redis.KeyFromArgs(map[string]string{"k": "v"}); err == nil {
		t.Error("a map has no first key")
	}
}
