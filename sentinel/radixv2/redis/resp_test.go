package redis_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
)

var errOfServer = errors.New("WRONGTYPE")

// read is what one method makes of a reply, in words.
type read struct {
	name string
	of   func(*redis.Resp) (any, error)
}

func reads() []read {
	return []read{
		{"Str", func(r *redis.Resp) (any, error) { return r.Str() }},
		{"Int", func(r *redis.Resp) (any, error) { return r.Int() }},
		{"Int64", func(r *redis.Resp) (any, error) { return r.Int64() }},
		{"Float64", func(r *redis.Resp) (any, error) { return r.Float64() }},
		{"List", func(r *redis.Resp) (any, error) { return r.List() }},
		{"Map", func(r *redis.Resp) (any, error) { return r.Map() }},
	}
}

// TestReadsOfReplies: each way to read each kind of reply gives the value, or says that it has none
// such.
func TestReadsOfReplies(t *testing.T) {
	const bad = "bad"
	for _, c := range []struct {
		reply *redis.Resp
		want  map[string]string // "" is an error of the caller's
	}{
		{redis.NewResp("12"), map[string]string{"Str": "12", "Int": "12", "Int64": "12", "Float64": "12"}},
		{redis.NewResp("1.5"), map[string]string{"Str": "1.5", "Float64": "1.5"}},
		{redis.NewResp([]byte("b")), map[string]string{"Str": "b"}},
		{redis.NewRespSimple("OK"), map[string]string{"Str": "OK"}},
		{redis.NewResp(true), map[string]string{"Str": "1", "Int": "1", "Int64": "1", "Float64": "1"}},
		{redis.NewResp(uint8(7)), map[string]string{"Int": "7", "Int64": "7"}},
		{redis.NewResp([]any{"k", nil}), map[string]string{"List": "[k ]", "Map": "map[k:]"}},
		{redis.NewResp([]any{"k", 1}), nil},
		{redis.NewResp([]string{"odd"}), map[string]string{"List": "[odd]"}},
		{redis.NewRespFlattenedStrings(map[string]int{"k": 1}), map[string]string{"List": "[k 1]", "Map": "map[k:1]"}},
	} {
		for _, r := range reads() {
			want, ok := c.want[r.name]
			if !ok {
				want = bad
			}
			got := bad
			if v, err := r.of(c.reply); err == nil {
				got = fmt.Sprint(v)
			}
			if got != want {
				t.Errorf("%s of %s: %s, want %s", r.name, c.reply, got, want)
			}
		}
	}
	for reply, want := range map[*redis.Resp]error{
		redis.NewResp(nil):                             redis.ErrRespNil,
		redis.NewResp(errOfServer):                     errOfServer,
		redis.NewRespIOErr(context.DeadlineExceeded):   context.DeadlineExceeded,
		redis.NewResp(*redis.NewResp(errOfServer)):     errOfServer,
		redis.NewResp(redis.NewRespIOErr(errOfServer)): errOfServer,
	} {
		for _, r := range reads() {
			if _, err := r.of(reply); !errors.Is(err, want) {
				t.Errorf("%s of %s: %v, want %v", r.name, reply, err, want)
			}
		}
	}
}

// TestRepliesInWords: logs tell the kinds apart.
func TestRepliesInWords(t *testing.T) {
	for want, reply := range map[string]*redis.Resp{
		`Resp(Str "v")`:                   redis.NewResp("v"),
		"Resp(Int -3)":                    redis.NewResp(int8(-3)),
		"Resp(Nil)":                       redis.NewResp(nil),
		"Resp(AppErr WRONGTYPE)":          redis.NewResp(errOfServer),
		"Resp(IOErr WRONGTYPE)":           redis.NewRespIOErr(errOfServer),
		`Resp(Resp(Str "a") Resp(Int 1))`: redis.NewResp([]any{"a", 1}),
		"Resp(UNKNOWN)":                   {},
		`Resp(Str "1.5")`:                 redis.NewResp(float32(1.5)),
		`Resp(Str "0")`:                   redis.NewResp(false),
	} {
		if got := reply.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestIsTimeout: only a reply that did not come in time is one.
func TestIsTimeout(t *testing.T) {
	if !redis.IsTimeout(redis.NewRespIOErr(fmt.Errorf("read: %w", context.DeadlineExceeded))) {
		t.Error("a deadline that has passed is none")
	}
	for _, r := range []*redis.Resp{redis.NewResp(context.DeadlineExceeded), redis.NewRespIOErr(errOfServer), redis.NewResp("v")} {
		if redis.IsTimeout(r) {
			t.Errorf("%s is one", r)
		}
	}
}

// TestArguments: replies, errors, slices and maps are sent as the strings in them.
func TestArguments(t *testing.T) {
	nested := redis.NewResp([]any{"a", 1, []string{"b"}, errOfServer})
	got, err := redis.NewRespFlattenedStrings([]any{nested, *redis.NewResp("v"), nil, errOfServer, []byte("x"), 1.25}).List()
	want := []string{"a", "1", "b", "WRONGTYPE", "v", "", "WRONGTYPE", "x", "1.25"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, c := range []struct {
		args []any
		want string
		ok   bool
	}{
		{[]any{"k", "v"}, "k", true},
		{[]any{[]string{"k2", "v"}}, "k2", true},
		{[]any{7}, "7", true},
		{nil, "", false},
		{[]any{map[string]string{"k": "v"}}, "", false},
		{[]any{[]string{}}, "", false},
	} {
		if got, err := redis.KeyFromArgs(c.args...); got != c.want || (err == nil) != c.ok {
			t.Errorf("KeyFromArgs(%v) = %q, %v", c.args, got, err)
		}
	}
}
