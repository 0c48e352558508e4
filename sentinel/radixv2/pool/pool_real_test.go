package pool_test

import (
	"errors"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/pool"
	v2 "github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/util"
)

func TestPool(t *testing.T) {
	server := redis.StartServer(t)
	p, err := pool.New("tcp", server.Addr(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if n := p.Avail(); n != 2 {
		t.Errorf("%d connections", n)
	}
	if err := p.Cmd("SET", "a", 1).Err; err != nil {
		t.Error(err)
	}
	if n, err := util.LuaEval(p, "return redis.call('INCR', KEYS[1])", 1, "a").Int(); n != 2 || err != nil {
		t.Errorf("a script: %d, %v", n, err)
	}
	keys, all := make(chan string), []string{}
	go func() {
		if err := util.Scan(p, keys, "SCAN", "", "*"); err != nil {
			t.Error(err)
		}
	}()
	for key := range keys {
		all = append(all, key)
	}
	if len(all) != 1 || all[0] != "a" {
		t.Errorf("scanned %q", all)
	}
	var clients []*v2.Client
	for range 3 {
		c, err := p.Get()
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	if err := clients[0].Close(); err != nil {
		t.Error(err)
	}
	if r := clients[0].Cmd("PING"); !r.IsType(v2.IOErr) || clients[0].LastCritical == nil {
		t.Errorf("on a closed connection: %v", r)
	}
	for _, c := range clients {
		p.Put(c)
	}
	if n := p.Avail(); n != 2 {
		t.Errorf("%d connections are kept", n)
	}
	p.Empty()
	if err := p.Cmd("PING").Err; !errors.Is(err, pool.ErrClosed) {
		t.Errorf("after Empty: %v", err)
	}
	if _, err := pool.New("tcp", "127.0.0.1:1", 1); err == nil {
		t.Error("a pool of nothing")
	}
}
