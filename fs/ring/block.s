// This file lets block.go declare functions without a body.
