#include "textflag.h"

// Eight lanes of MD5, one in each 32-bit element of a 256-bit register.
//
//	DI  state           AX  offset into the lanes      CX  blocks to go
//	SI  constants       R8-R13, BX, DX  the lanes
//	Y0-Y3  the state    Y8-Y11  the state before the block
//	0(SP)-511(SP)  the block's 16 words, 8 lanes each
#define A Y0
#define B Y1
#define C Y2
#define D Y3

// LOAD puts four words of each lane, at byte off of the block, in their places:
// lanes 0 to 3 stand in the low halves of the registers, 4 to 7 in the high ones.
#define LOAD(off) \
	VMOVDQU off(R8)(AX*1), X4; \
	VMOVDQU off(R9)(AX*1), X5; \
	VMOVDQU off(R10)(AX*1), X6; \
	VMOVDQU off(R11)(AX*1), X7; \
	VINSERTI128 $1, off(R12)(AX*1), Y4, Y4; \
	VINSERTI128 $1, off(R13)(AX*1), Y5, Y5; \
	VINSERTI128 $1, off(BX)(AX*1), Y6, Y6; \
	VINSERTI128 $1, off(DX)(AX*1), Y7, Y7; \
	VPUNPCKLDQ Y5, Y4, Y12; \
	VPUNPCKHDQ Y5, Y4, Y13; \
	VPUNPCKLDQ Y7, Y6, Y14; \
	VPUNPCKHDQ Y7, Y6, Y15; \
	VPUNPCKLQDQ Y14, Y12, Y4; \
	VPUNPCKHQDQ Y14, Y12, Y5; \
	VPUNPCKLQDQ Y15, Y13, Y6; \
	VPUNPCKHQDQ Y15, Y13, Y7; \
	VMOVDQU Y4, (8*off+0)(SP); \
	VMOVDQU Y5, (8*off+32)(SP); \
	VMOVDQU Y6, (8*off+64)(SP); \
	VMOVDQU Y7, (8*off+96)(SP)

#define ENTER \
	MOVQ state+0(FP), DI; \
	MOVQ lanes+8(FP), AX; \
	MOVQ blocks+16(FP), CX; \
	MOVQ 0(AX), R8; \
	MOVQ 8(AX), R9; \
	MOVQ 16(AX), R10; \
	MOVQ 24(AX), R11; \
	MOVQ 32(AX), R12; \
	MOVQ 40(AX), R13; \
	MOVQ 48(AX), BX; \
	MOVQ 56(AX), DX; \
	LEAQ ·constants(SB), SI; \
	XORQ AX, AX; \
	VMOVDQU 0(DI), A; \
	VMOVDQU 32(DI), B; \
	VMOVDQU 64(DI), C; \
	VMOVDQU 96(DI), D

#define BEGIN \
	LOAD(0); \
	LOAD(16); \
	LOAD(32); \
	LOAD(48); \
	VMOVDQA A, Y8; \
	VMOVDQA B, Y9; \
	VMOVDQA C, Y10; \
	VMOVDQA D, Y11

#define END \
	VPADDD Y8, A, A; \
	VPADDD Y9, B, B; \
	VPADDD Y10, C, C; \
	VPADDD Y11, D, D; \
	ADDQ $64, AX; \
	DECQ CX

#define LEAVE \
	VMOVDQU A, 0(DI); \
	VMOVDQU B, 32(DI); \
	VMOVDQU C, 64(DI); \
	VMOVDQU D, 96(DI); \
	VZEROUPPER

// ADDWORD begins a step with what does not wait for the step before.
#define ADDWORD(a, w, k) \
	VPBROADCASTD (4*k)(SI), Y4; \
	VPADDD (32*w)(SP), Y4, Y4; \
	VPADDD Y4, a, a

#define ROTATE(a, b, s) \
	VPADDD Y5, a, a; \
	VPSRLD $(32-s), a, Y6; \
	VPSLLD $s, a, a; \
	VPOR Y6, a, a; \
	VPADDD b, a, a

#define R1(a, b, c, d, w, k, s) \
	ADDWORD(a, w, k); \
	VPXOR c, d, Y5; \
	VPAND b, Y5, Y5; \
	VPXOR d, Y5, Y5; \
	ROTATE(a, b, s)

// The terms of F have no bit in common, so that one can be added early.
#define R2(a, b, c, d, w, k, s) \
	ADDWORD(a, w, k); \
	VPANDN c, d, Y5; \
	VPADDD Y5, a, a; \
	VPAND b, d, Y5; \
	ROTATE(a, b, s)

#define R3(a, b, c, d, w, k, s) \
	ADDWORD(a, w, k); \
	VPXOR c, d, Y5; \
	VPXOR b, Y5, Y5; \
	ROTATE(a, b, s)

#define R4(a, b, c, d, w, k, s) \
	ADDWORD(a, w, k); \
	VPXOR Y7, d, Y5; \
	VPOR b, Y5, Y5; \
	VPXOR c, Y5, Y5; \
	ROTATE(a, b, s)

// func blocksAVX2(state *states, lanes *[width]*byte, blocks int)
TEXT ·blocksAVX2(SB), NOSPLIT, $512-24
	ENTER

avx2:
	BEGIN
	VPCMPEQD Y7, Y7, Y7
#include "steps_amd64.h"
	END
	JNZ avx2
	LEAVE
	RET

#undef ADDWORD
#undef ROTATE
#undef R1
#undef R2
#undef R3
#undef R4

// With AVX-512 for registers of 256 bits, F is one instruction and so is the
// rotation. table is that of F, with d as the highest bit of its index.
#define STEP(table, a, b, c, d, w, k, s) \
	VMOVDQU (32*w)(SP), Y4; \
	VPADDD.BCST (4*k)(SI), Y4, Y4; \
	VPADDD Y4, a, a; \
	VMOVDQA d, Y5; \
	VPTERNLOGD $table, c, b, Y5; \
	VPADDD Y5, a, a; \
	VPROLD $s, a, a; \
	VPADDD b, a, a

#define R1(a, b, c, d, w, k, s) STEP(0xb8, a, b, c, d, w, k, s)
#define R2(a, b, c, d, w, k, s) STEP(0xca, a, b, c, d, w, k, s)
#define R3(a, b, c, d, w, k, s) STEP(0x96, a, b, c, d, w, k, s)
#define R4(a, b, c, d, w, k, s) STEP(0x65, a, b, c, d, w, k, s)

// func blocksAVX512(state *states, lanes *[width]*byte, blocks int)
TEXT ·blocksAVX512(SB), NOSPLIT, $512-24
	ENTER

avx512:
	BEGIN
#include "steps_amd64.h"
	END
	JNZ avx512
	LEAVE
	RET
