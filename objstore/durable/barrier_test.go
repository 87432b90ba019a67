package durable

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// joined reports whether somebody waits for a round that has not begun.
func joined(b *Barrier) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next != nil
}

func TestBarrierSharesTheRunThatBeginsLater(t *testing.T) {
	begun, end := make(chan struct{}, 8), make(chan error, 8)
	b := NewBarrier(func() error {
		begun <- struct{}{}
		return <-end
	})
	first := make(chan error, 1)
	go func() { first <- b.Wait(context.Background()) }()
	<-begun
	// These want what the first run may have passed by already.
	failure := errors.New("the disk does not answer")
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() {
			if err := b.Wait(context.Background()); err != failure {
				t.Errorf("error %v, want that of a run that began later", err)
			}
		})
	}
	for !joined(b) {
		time.Sleep(time.Millisecond)
	}
	end <- nil
	if err := <-first; err != nil {
		t.Error(err)
	}
	go func() {
		for range 7 { // all that can come, should somebody have joined late
			end <- failure
		}
	}()
	wg.Wait()
}

func TestBarrierGoesOnWithoutWhoGivesUp(t *testing.T) {
	begun, end := make(chan struct{}, 2), make(chan struct{})
	b := NewBarrier(func() error {
		begun <- struct{}{}
		<-end
		return nil
	})
	first := make(chan error, 1)
	go func() { first <- b.Wait(context.Background()) }()
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Wait(ctx); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := b.Wait(context.Background()); err != nil {
		t.Errorf("after one who gave up: %v", err)
	}
}
