package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// verb names what a child is told to do.
type verb string

const (
	verbOpen     verb = "open"
	verbWrite    verb = "write"
	verbLedger   verb = "ledger" // ends the writing
	verbFill     verb = "fill"
	verbRound    verb = "round"
	verbAllocate verb = "allocate"
	verbClose    verb = "close"
	verbSpin     verb = "spin" // uses a processor until the child is killed
)

// order is what the parent sends.
type order struct {
	Verb     verb
	Client   string
	Settings settings
	Load     Load
	Round    Round
}

// answer is what the child sends back.
type answer struct {
	Error       string
	Ledger      ledger
	Result      Result
	Allocations Allocations
	Leftovers   Leftovers
}

const openLimit = 10 * time.Second

// child is a process that holds one client, so that a client that never returns can be killed.
type child struct {
	before  usage
	client  client
	dials   *dialLog
	writing *writing
}

// serve obeys orders until the parent hangs up, be it in the middle of an order.
func serve(in io.Reader, out io.Writer) error {
	orders, answers := gob.NewDecoder(in), gob.NewEncoder(out)
	accepted := make(chan order)
	defer close(accepted)
	go obeyAll(accepted, answers)
	for {
		var o order
		if err := orders.Decode(&o); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		accepted <- o
	}
}

func obeyAll(orders <-chan order, answers *gob.Encoder) {
	c := &child{dials: &dialLog{}}
	for o := range orders {
		a, err := c.obey(o)
		if err != nil {
			a.Error = err.Error()
		}
		if answers.Encode(a) != nil {
			return
		}
	}
}

func (c *child) obey(o order) (a answer, err error) {
	if o.Verb != verbOpen && o.Verb != verbSpin && c.client == nil {
		return a, fmt.Errorf("%s before %s", o.Verb, verbOpen)
	}
	switch o.Verb {
	case verbOpen:
		return a, c.open(o)
	case verbWrite:
		c.writing = startWriting(o.Load, c.client, c.dials)
	case verbLedger:
		a.Ledger = c.writing.end()
	case verbFill:
		return a, fill(context.Background(), c.client)
	case verbRound:
		a.Result = o.Round.measure(c.client)
	case verbAllocate:
		a.Allocations, err = countAllocations(c.client)
	case verbClose:
		a.Leftovers = leftoversOf(c.client, c.before)
	case verbSpin:
		go spin()
	default:
		return a, fmt.Errorf("unknown order %q", o.Verb)
	}
	return a, err
}

func (c *child) open(o order) error {
	ctx, cancel := context.WithTimeout(context.Background(), openLimit)
	defer cancel()
	c.before = currentUsage()
	opened, err := open(ctx, o.Client, o.Settings, c.dials)
	if err != nil {
		return err
	}
	c.client = opened
	return awaitFirst(ctx, opened)
}

// awaitFirst waits until the client has answered once: some connect only when they are used.
func awaitFirst(ctx context.Context, c client) error {
	for {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		err := c.Set(limited, "hello", "hello")
		cancel()
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

func spin() {
	for n := 0; ; n++ {
		if n < 0 {
			return
		}
	}
}

// asChild is what the program does when it is started with -child.
func asChild() error { return serve(os.Stdin, os.Stdout) }
