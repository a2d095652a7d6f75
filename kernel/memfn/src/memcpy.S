@ memcpy(r0 destination, r1 source, r2 bytes) returns r0. Moves upwards, and may so be used when the destination
@ overlaps the source from below.
@
@ ip is the running destination, so that r0 is still there at the end. Tests of single bits of the length go through the
@ flags: after `lsls rd, length, #n` C holds bit 32 - n and N bit 31 - n.

    .syntax unified
    .arm
    .section .text.memcpy, "ax", %progbits
    .p2align 5
    .global memcpy
    .global __aeabi_memcpy
    .global __aeabi_memcpy4
    .global __aeabi_memcpy8
    .type memcpy, %function
    .type __aeabi_memcpy, %function
    .type __aeabi_memcpy4, %function
    .type __aeabi_memcpy8, %function
memcpy:
__aeabi_memcpy:
__aeabi_memcpy4:
__aeabi_memcpy8:
    mov     ip, r0
    cmp     r2, #8
    blo     .Lcopy_few
    ands    r3, ip, #3
    bne     .Lcopy_align
.Lcopy_to_word:
    tst     r1, #3
    bne     .Lcopy_shifted
    subs    r2, r2, #32
    blo     .Lcopy_rest
    push    {r4-r11}
    subs    r2, r2, #96
    blo     2f
1:  ldm     r1!, {r3-r10}
    stm     ip!, {r3-r10}
    ldm     r1!, {r3-r10}
    stm     ip!, {r3-r10}
    ldm     r1!, {r3-r10}
    stm     ip!, {r3-r10}
    ldm     r1!, {r3-r10}
    stm     ip!, {r3-r10}
    subs    r2, r2, #128
    bhs     1b
2:  adds    r2, r2, #96
    blt     4f
3:  ldm     r1!, {r3-r10}
    stm     ip!, {r3-r10}
    subs    r2, r2, #32
    bge     3b
4:  pop     {r4-r11}
.Lcopy_rest:                            @ the low five bits of r2: bytes left
    lsls    r3, r2, #28
    bcc     1f
    ldr     r3, [r1], #4
    str     r3, [ip], #4
    ldr     r3, [r1], #4
    str     r3, [ip], #4
    ldr     r3, [r1], #4
    str     r3, [ip], #4
    ldr     r3, [r1], #4
    str     r3, [ip], #4
1:  bpl     2f
    ldr     r3, [r1], #4
    str     r3, [ip], #4
    ldr     r3, [r1], #4
    str     r3, [ip], #4
2:  lsls    r3, r2, #30
    ldrcs   r3, [r1], #4
    strcs   r3, [ip], #4
    ldrhmi  r3, [r1], #2
    strhmi  r3, [ip], #2
    tst     r2, #1
    ldrbne  r3, [r1]
    strbne  r3, [ip]
    bx      lr

.Lcopy_few:                             @ 0 to 7 bytes: into the middle of seven moves
    rsb     r3, r2, #7
    add     pc, pc, r3, lsl #3
    nop
    .rept 7
    ldrb    r3, [r1], #1
    strb    r3, [ip], #1
    .endr
    bx      lr

.Lcopy_align:                           @ r3 = destination mod 4: 1 to 3 bytes up to a word
    rsb     r3, r3, #4
    sub     r2, r2, r3
    lsls    r3, r3, #31
    ldrbmi  r3, [r1], #1
    strbmi  r3, [ip], #1
    ldrbcs  r3, [r1], #1
    strbcs  r3, [ip], #1
    ldrbcs  r3, [r1], #1
    strbcs  r3, [ip], #1
    b       .Lcopy_to_word

@ The source is \k bytes past a word. r3 holds the word whose last 4 - \k bytes come next.
    .macro copy_shifted k
    subs    r2, r2, #32
    blo     2f
1:  ldm     r1!, {r4-r11}
    lsr     r3, r3, #8 * \k
    orr     r3, r3, r4, lsl #32 - 8 * \k
    lsr     r4, r4, #8 * \k
    orr     r4, r4, r5, lsl #32 - 8 * \k
    lsr     r5, r5, #8 * \k
    orr     r5, r5, r6, lsl #32 - 8 * \k
    lsr     r6, r6, #8 * \k
    orr     r6, r6, r7, lsl #32 - 8 * \k
    lsr     r7, r7, #8 * \k
    orr     r7, r7, r8, lsl #32 - 8 * \k
    lsr     r8, r8, #8 * \k
    orr     r8, r8, r9, lsl #32 - 8 * \k
    lsr     r9, r9, #8 * \k
    orr     r9, r9, r10, lsl #32 - 8 * \k
    lsr     r10, r10, #8 * \k
    orr     r10, r10, r11, lsl #32 - 8 * \k
    stm     ip!, {r3-r10}
    mov     r3, r11
    subs    r2, r2, #32
    bhs     1b
2:  adds    r2, r2, #28
    blt     4f
3:  lsr     r3, r3, #8 * \k
    ldr     r4, [r1], #4
    orr     r3, r3, r4, lsl #32 - 8 * \k
    str     r3, [ip], #4
    mov     r3, r4
    subs    r2, r2, #4
    bge     3b
4:  sub     r1, r1, #4 - \k
    b       .Lcopy_last
    .endm

.Lcopy_shifted:                         @ the destination is at a word, the source is not
    push    {r4-r11}
    and     r4, r1, #3
    bic     r1, r1, #3
    ldr     r3, [r1], #4
    cmp     r4, #2
    beq     .Lcopy_by_2
    bhi     .Lcopy_by_3
    copy_shifted 1
.Lcopy_by_2:
    copy_shifted 2
.Lcopy_by_3:
    copy_shifted 3
.Lcopy_last:                            @ the low two bits of r2: bytes left
    pop     {r4-r11}
    lsls    r3, r2, #31
    ldrbcs  r3, [r1], #1
    strbcs  r3, [ip], #1
    ldrbcs  r3, [r1], #1
    strbcs  r3, [ip], #1
    ldrbmi  r3, [r1]
    strbmi  r3, [ip]
    bx      lr
    .size memcpy, . - memcpy
