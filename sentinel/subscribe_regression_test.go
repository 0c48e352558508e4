package sentinel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
	"github.com/holdfast-go/holdfast/sentinel"
)

// awaitResubscribed waits for the word that a subscription is complete again.
func awaitResubscribed(s *stage, sub *sentinel.Subscription, at *redis.FakeServer) {
	s.Helper()
	for {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		m, err := sub.Next(ctx)
		cancel()
		if err != nil || !m.Resubscribed {
			s.Fatalf("%+v, %v; want that it is subscribed again", m, err)
		}
		if m.Addr == at.Addr() {
			return
		}
	}
}

// The new primary took the connection and the login, and hung. The subscription waited for its
// confirmation for ever, though there was another primary soon.
func TestASubscriptionIsNotHeldByAPrimaryThatHangs(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		sub, err := s.client.Subscribe(s.Context(), name, "news")
		if err != nil {
			t.Fatal(err)
		}
		hangs, last := s.cluster.Servers[1], s.cluster.Servers[2]
		hangs.SetFault(redis.OnVerbs(redis.Delay(time.Hour), "SUBSCRIBE"))
		s.cluster.Failover(hangs)
		s.within(time.Second, hangs)
		time.Sleep(16 * time.Second)
		s.cluster.Failover(last)
		s.within(10*time.Second, last)
		awaitResubscribed(s, sub, last)
	})
}

// The same without another primary: what hangs for a while is tried again.
func TestASubscriptionIsTriedAgain(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		sub, err := s.client.Subscribe(s.Context(), name, "news")
		if err != nil {
			t.Fatal(err)
		}
		fresh := s.cluster.Servers[1]
		fresh.SetFault(redis.Times(1, redis.OnVerbs(redis.Delay(time.Hour), "SUBSCRIBE")))
		s.cluster.Failover(fresh)
		awaitResubscribed(s, sub, fresh)
	})
}

// A refusal when it subscribed again, such as for too many clients, ended a subscription for good.
// Its first is the caller's to judge.
func TestASubscriptionOutlivesARefusal(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		sub, err := s.client.Subscribe(s.Context(), name, "news")
		if err != nil {
			t.Fatal(err)
		}
		refused := redis.OnVerbs(redis.Raw("-ERR max number of clients reached\r\n"), "SUBSCRIBE")
		fresh := s.cluster.Servers[1]
		fresh.SetFault(redis.Times(3, refused))
		s.cluster.Failover(fresh)
		awaitResubscribed(s, sub, fresh)
		fresh.SetFault(refused)
		if _, err := s.client.Subscribe(s.Context(), name, "news"); err == nil || errors.Is(err, sentinel.ErrClosed) {
			t.Errorf("a first subscription that is refused: %v", err)
		}
	})
}

// Subscribe waited for a server that hung after the client was closed, too.
func TestCloseEndsASubscribeThatWaits(t *testing.T) {
	act(t, sentinel.Options{}, func(s *stage) {
		s.cluster.Primary().SetFault(redis.OnVerbs(redis.Delay(time.Hour), "SUBSCRIBE"))
		time.AfterFunc(time.Second, s.client.Close)
		began := time.Now()
		_, err := s.client.Subscribe(context.Background(), name, "news")
		if !errors.Is(err, sentinel.ErrClosed) || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// In RESP3 a subscription is confirmed by a push, which is no call's reply: the call waited for as
// long as messages came.
func TestSubscribingByACommandIsRefusedInRESP3(t *testing.T) {
	act(t, sentinel.Options{Protocol: 3}, func(s *stage) {
		subscribe := radix.Cmd(nil, "psubscribe", "n*")
		lease, err := s.client.GetMaster(name)
		if err != nil {
			t.Fatal(err)
		}
		defer s.client.PutMaster(name, lease)
		for what, err := range map[string]error{
			"Do": s.client.Do(s.Context(), name, subscribe), "DoReplica": s.client.DoReplica(s.Context(), name, subscribe),
			"a lease":   lease.Cmd("SUBSCRIBE", "news").Err,
			"Exclusive": s.client.Exclusive(s.Context(), name, func(conn radix.Conn) error { return conn.Do(s.Context(), subscribe) }),
		} {
			if !errors.Is(err, sentinel.ErrStateful) || !errors.Is(err, sentinel.ErrNotSent) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
