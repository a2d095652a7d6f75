@ memcmp(r0, r1, r2 bytes) returns a number below, equal to or above 0, as the first bytes that differ compare.

    .syntax unified
    .arm
    .section .text.memcmp, "ax", %progbits
    .p2align 5
    .global memcmp
    .global bcmp
    .type memcmp, %function
    .type bcmp, %function
memcmp:
bcmp:
    cmp     r2, #8
    blo     .Lcompare_bytes
.Lcompare_align:                        @ bytes until r0 is at a word
    tst     r0, #3
    beq     1f
    ldrb    r3, [r0], #1
    ldrb    ip, [r1], #1
    sub     r2, r2, #1
    subs    r3, r3, ip
    beq     .Lcompare_align
    mov     r0, r3
    bx      lr
1:  push    {r4-r10, lr}
    ands    r4, r1, #3
    bne     .Lcompare_shifted
    subs    r2, r2, #16
    blo     3f
2:  ldm     r0!, {r3-r6}
    ldm     r1!, {r7-r10}
    cmp     r3, r7
    cmpeq   r4, r8
    cmpeq   r5, r9
    cmpeq   r6, r10
    bne     .Lcompare_again
    subs    r2, r2, #16
    bhs     2b
3:  adds    r2, r2, #12
    blt     5f
4:  ldr     r3, [r0], #4
    ldr     r7, [r1], #4
    cmp     r3, r7
    bne     .Lcompare_words
    subs    r2, r2, #4
    bge     4b
5:  add     r2, r2, #4
    pop     {r4-r10, lr}
.Lcompare_bytes:
    subs    r2, r2, #1
    blo     .Lcompare_equal
    ldrb    r3, [r0], #1
    ldrb    ip, [r1], #1
    subs    r3, r3, ip
    beq     .Lcompare_bytes
    mov     r0, r3
    bx      lr
.Lcompare_equal:
    mov     r0, #0
    bx      lr

.Lcompare_again:                        @ one of the four pairs differs: the first that does
    cmp     r3, r7
    bne     .Lcompare_words
    mov     r3, r4
    mov     r7, r8
    cmp     r3, r7
    bne     .Lcompare_words
    mov     r3, r5
    mov     r7, r9
    cmp     r3, r7
    bne     .Lcompare_words
    mov     r3, r6
    mov     r7, r10
.Lcompare_words:                        @ r3 and r7 differ: the byte at the lowest address decides
    rev     r3, r3
    rev     r7, r7
    cmp     r3, r7
    mov     r0, #1
    mvnlo   r0, #0
    pop     {r4-r10, pc}

@ r1 is \k bytes past a word. r8 holds the word whose last 4 - \k bytes come next.
    .macro compare_shifted k
    subs    r2, r2, #4
    blo     2f
1:  ldr     r9, [r1], #4
    ldr     r3, [r0], #4
    lsr     r7, r8, #8 * \k
    orr     r7, r7, r9, lsl #32 - 8 * \k
    cmp     r3, r7
    bne     .Lcompare_words
    mov     r8, r9
    subs    r2, r2, #4
    bhs     1b
2:  sub     r1, r1, #4 - \k
    add     r2, r2, #4
    pop     {r4-r10, lr}
    b       .Lcompare_bytes
    .endm

.Lcompare_shifted:
    bic     r1, r1, #3
    ldr     r8, [r1], #4
    cmp     r4, #2
    beq     .Lcompare_by_2
    bhi     .Lcompare_by_3
    compare_shifted 1
.Lcompare_by_2:
    compare_shifted 2
.Lcompare_by_3:
    compare_shifted 3
    .size memcmp, . - memcmp
