//go:build race

package s3api

// raceDetector tells whether tests run ten times as slowly.
const raceDetector = true
