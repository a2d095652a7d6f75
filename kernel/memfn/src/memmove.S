@ memmove(r0 destination, r1 source, r2 bytes) returns r0. Only a destination that begins inside of the source needs to be
@ filled from its end; all else is memcpy's. This is memcpy mirrored: r1 and ip point behind what is left.

    .syntax unified
    .arm
    .section .text.memmove, "ax", %progbits
    .p2align 5
    .global memmove
    .global __aeabi_memmove
    .global __aeabi_memmove4
    .global __aeabi_memmove8
    .type memmove, %function
    .type __aeabi_memmove, %function
    .type __aeabi_memmove4, %function
    .type __aeabi_memmove8, %function
memmove:
__aeabi_memmove:
__aeabi_memmove4:
__aeabi_memmove8:
    sub     r3, r0, r1
    cmp     r3, r2
    bhs     memcpy
    add     r1, r1, r2
    add     ip, r0, r2
    cmp     r2, #8
    blo     .Lmove_few
    ands    r3, ip, #3
    bne     .Lmove_align
.Lmove_to_word:
    push    {r4-r11}
    ands    r4, r1, #3
    bne     .Lmove_shifted
    subs    r2, r2, #128
    blo     2f
1:  ldmdb   r1!, {r3-r10}
    stmdb   ip!, {r3-r10}
    ldmdb   r1!, {r3-r10}
    stmdb   ip!, {r3-r10}
    ldmdb   r1!, {r3-r10}
    stmdb   ip!, {r3-r10}
    ldmdb   r1!, {r3-r10}
    stmdb   ip!, {r3-r10}
    subs    r2, r2, #128
    bhs     1b
2:  adds    r2, r2, #96
    blt     4f
3:  ldmdb   r1!, {r3-r10}
    stmdb   ip!, {r3-r10}
    subs    r2, r2, #32
    bge     3b
4:  adds    r2, r2, #28
    blt     6f
5:  ldr     r3, [r1, #-4]!
    str     r3, [ip, #-4]!
    subs    r2, r2, #4
    bge     5b
6:  b       .Lmove_last

.Lmove_few:                             @ 0 to 7 bytes: into the middle of seven moves
    rsb     r3, r2, #7
    add     pc, pc, r3, lsl #3
    nop
    .rept 7
    ldrb    r3, [r1, #-1]!
    strb    r3, [ip, #-1]!
    .endr
    bx      lr

.Lmove_align:                           @ r3 = bytes down to a word
    sub     r2, r2, r3
    lsls    r3, r3, #31
    ldrbmi  r3, [r1, #-1]!
    strbmi  r3, [ip, #-1]!
    ldrbcs  r3, [r1, #-1]!
    strbcs  r3, [ip, #-1]!
    ldrbcs  r3, [r1, #-1]!
    strbcs  r3, [ip, #-1]!
    b       .Lmove_to_word

@ The source ends \k bytes past a word. r11 holds the word whose first \k bytes come next.
    .macro move_shifted k
    subs    r2, r2, #32
    blo     2f
1:  ldmdb   r1!, {r3-r10}
    lsl     r11, r11, #32 - 8 * \k
    orr     r11, r11, r10, lsr #8 * \k
    lsl     r10, r10, #32 - 8 * \k
    orr     r10, r10, r9, lsr #8 * \k
    lsl     r9, r9, #32 - 8 * \k
    orr     r9, r9, r8, lsr #8 * \k
    lsl     r8, r8, #32 - 8 * \k
    orr     r8, r8, r7, lsr #8 * \k
    lsl     r7, r7, #32 - 8 * \k
    orr     r7, r7, r6, lsr #8 * \k
    lsl     r6, r6, #32 - 8 * \k
    orr     r6, r6, r5, lsr #8 * \k
    lsl     r5, r5, #32 - 8 * \k
    orr     r5, r5, r4, lsr #8 * \k
    lsl     r4, r4, #32 - 8 * \k
    orr     r4, r4, r3, lsr #8 * \k
    stmdb   ip!, {r4-r11}
    mov     r11, r3
    subs    r2, r2, #32
    bhs     1b
2:  adds    r2, r2, #28
    blt     4f
3:  lsl     r11, r11, #32 - 8 * \k
    ldr     r10, [r1, #-4]!
    orr     r11, r11, r10, lsr #8 * \k
    str     r11, [ip, #-4]!
    mov     r11, r10
    subs    r2, r2, #4
    bge     3b
4:  add     r1, r1, #\k
    b       .Lmove_last
    .endm

.Lmove_shifted:                         @ the destination ends at a word, the source r4 bytes past one
    bic     r1, r1, #3
    ldr     r11, [r1]
    cmp     r4, #2
    beq     .Lmove_by_2
    bhi     .Lmove_by_3
    move_shifted 1
.Lmove_by_2:
    move_shifted 2
.Lmove_by_3:
    move_shifted 3
.Lmove_last:                            @ the low two bits of r2: bytes left
    pop     {r4-r11}
    lsls    r3, r2, #31
    ldrbcs  r3, [r1, #-1]!
    strbcs  r3, [ip, #-1]!
    ldrbcs  r3, [r1, #-1]!
    strbcs  r3, [ip, #-1]!
    ldrbmi  r3, [r1, #-1]!
    strbmi  r3, [ip, #-1]!
    bx      lr
    .size memmove, . - memmove
