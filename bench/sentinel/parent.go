package main

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// answerLimit is how long a child may take for an order, besides the time that the order itself
// names.
const answerLimit = 15 * time.Second

// handle is the parent's side of a child.
type handle struct {
	name    string
	process *exec.Cmd
	stdin   io.WriteCloser
	orders  *gob.Encoder
	answers *gob.Decoder
}

// spawn starts this program again as a child.
func spawn(ctx context.Context, name string) (*handle, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	h := &handle{name: name, process: exec.CommandContext(ctx, self, "-child")}
	if h.stdin, err = h.process.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := h.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := h.process.Start(); err != nil {
		return nil, err
	}
	h.orders, h.answers = gob.NewEncoder(h.stdin), gob.NewDecoder(stdout)
	return h, nil
}

// spawnClient starts a child and has it open its client.
func spawnClient(ctx context.Context, name string, s settings) (*handle, error) {
	h, err := spawn(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := h.tell(order{Verb: verbOpen, Client: name, Settings: s}); err != nil {
		h.kill()
		return nil, err
	}
	return h, nil
}

// tell gives an order and waits for the answer. A child that does not answer in time is killed.
func (h *handle) tell(o order) (answer, error) {
	var a answer
	late := time.AfterFunc(answerLimit+o.Round.Duration, func() { _ = h.process.Process.Kill() })
	defer late.Stop()
	err := h.orders.Encode(o)
	if err == nil {
		err = h.answers.Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		return a, fmt.Errorf("%s: %s: %w", h.name, o.Verb, err)
	}
	return a, nil
}

// kill ends the child, whatever it is doing.
func (h *handle) kill() {
	_ = h.stdin.Close()
	_ = h.process.Process.Kill()
	_ = h.process.Wait() // a killed process always ends with an error
}

// killAll ends several children.
func killAll(children []*handle) {
	for _, h := range children {
		h.kill()
	}
}
