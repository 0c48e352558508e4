package main

import (
	"context"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/sentinel"
)

// holdfast is our client.
type holdfast struct{ client *sentinel.Client }

func openHoldfast(ctx context.Context, s settings, dials *dialLog) (client, error) {
	endpoint := sentinel.Endpoint{Dial: dials.DialContext}
	options := sentinel.Options{Names: []string{master}, Server: endpoint, Sentinel: endpoint}
	if s.PushOnly {
		options.Mode = sentinel.PushOnly
	}
	c, err := sentinel.New(ctx, s.Sentinels, options)
	if err != nil {
		return nil, err
	}
	return holdfast{c}, nil
}

func (h holdfast) Get(ctx context.Context, key string) (string, error) {
	var value string
	err := h.client.Do(ctx, master, radix.Cmd(&value, "GET", key))
	return value, err
}

func (h holdfast) Set(ctx context.Context, key, value string) error {
	return h.client.Do(ctx, master, radix.Cmd(nil, "SET", key, value))
}

func (h holdfast) Close() { h.client.Close() }

// switches is how often the primary became another one; the first that is found is none.
func (h holdfast) switches() int {
	found := 0
	for why, n := range h.client.Stats().Primaries[master].Found {
		if why != "returned" {
			found += int(n)
		}
	}
	return max(0, found-1)
}
