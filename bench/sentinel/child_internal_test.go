package main

import (
	"context"
	"encoding/gob"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// scripted is a client whose calls do what the test says.
type scripted struct{ set func(key string) error }

func (s scripted) Get(context.Context, string) (string, error) { return "", nil }

func (s scripted) Set(_ context.Context, key, _ string) error { return s.set(key) }

func (s scripted) Close() {}

func TestServeAnswersEachOrderAndEndsWithItsInput(t *testing.T) {
	in, orders := io.Pipe()
	answers, out := io.Pipe()
	served := make(chan error)
	go func() { served <- serve(in, out) }()
	ask, answered := gob.NewEncoder(orders), gob.NewDecoder(answers)
	for _, c := range []struct {
		order order
		want  string
	}{
		{order{Verb: verbRound}, "round before open"},
		{order{Verb: verbOpen, Client: "nobody"}, `no client "nobody"`},
	} {
		var a answer
		if err := errors.Join(ask.Encode(c.order), answered.Decode(&a)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(a.Error, c.want) {
			t.Errorf("order %q gave %q, want %q", c.order.Verb, a.Error, c.want)
		}
	}
	if err := orders.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve = %v, want nil at the end of its input", err)
	}
}

func TestWritingKeepsItsBooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		c := scripted{set: func(key string) error {
			switch key {
			case "x:1":
				return errors.New("READONLY of 127.0.0.1:6379")
			case "x:2":
				return errors.New("dial 127.0.0.1:6379: something else")
			case "x:3":
				<-release
			}
			return nil
		}}
		w := startWriting(Load{Prefix: "x", Goroutines: 2, Rate: 10}, c, &dialLog{})
		time.Sleep(950 * time.Millisecond) // x:1 at 0, x:2 at 100 ms, x:3 at 200 ms, then every 200 ms from 300 ms on
		l := w.end()
		if want := 750*time.Millisecond + stopLimit; len(l.Stuck) != 1 || l.Stuck[0] != want {
			t.Errorf("stuck = %v, want one call of %v", l.Stuck, want)
		}
		v := l.judge(nil, moments{})
		if v.errors["READONLY"] != 1 || v.errors["dial ...:: something else"] != 1 {
			t.Errorf("errors = %v, want one READONLY and one of its own", v.errors)
		}
		if v.acknowledged != 4 || l.Switches >= 0 {
			t.Errorf("acknowledged = %d, switches = %d, want 4, and unknown", v.acknowledged, l.Switches)
		}
	})
}

// The bubble also fails if the goroutine does not end with the load.
func TestImpatientWriterRepeatsAFailedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const repeats = 20
		c := scripted{set: func(string) error { return errors.New("down") }}
		w := startWriting(Load{Prefix: "x", Goroutines: 2, Rate: 1, Impatient: repeats}, c, &dialLog{})
		time.Sleep(1500 * time.Millisecond) // one goroutine at 0, the other at 1 s
		if n := len(w.end().Writes); n != 1+repeats+1 {
			t.Errorf("%d writes, want %d by the impatient one and one by the other", n, 1+repeats)
		}
	})
}

func TestLeftoversOfACleanClient(t *testing.T) {
	if l := leftoversOf(scripted{}, currentUsage()); l.Hangs || l.Goroutines > 0 || l.Sockets > 0 {
		t.Errorf("leftovers = %+v, want none", l)
	}
}
