@ memset(r0 destination, r1 byte, r2 bytes) returns r0; __aeabi_memset has its last two arguments the other way round,
@ __aeabi_memclr is __aeabi_memset without the byte.

    .syntax unified
    .arm
    .section .text.memset, "ax", %progbits
    .p2align 5
    .global __aeabi_memclr
    .global __aeabi_memclr4
    .global __aeabi_memclr8
    .global __aeabi_memset
    .global __aeabi_memset4
    .global __aeabi_memset8
    .global memset
    .type __aeabi_memclr, %function
    .type __aeabi_memclr4, %function
    .type __aeabi_memclr8, %function
    .type __aeabi_memset, %function
    .type __aeabi_memset4, %function
    .type __aeabi_memset8, %function
    .type memset, %function
__aeabi_memclr:
__aeabi_memclr4:
__aeabi_memclr8:
    mov     r2, r1
    mov     r1, #0
    b       .Lset_word
__aeabi_memset:
__aeabi_memset4:
__aeabi_memset8:
    mov     r3, r1
    mov     r1, r2
    mov     r2, r3
memset:
    and     r1, r1, #255
    orr     r1, r1, r1, lsl #8
    orr     r1, r1, r1, lsl #16
.Lset_word:                             @ r1 = the byte, four times
    mov     ip, r0
    cmp     r2, #8
    blo     .Lset_few
    ands    r3, ip, #3
    bne     .Lset_align
.Lset_to_word:
    subs    r2, r2, #32
    blo     .Lset_rest
    push    {r4-r9}
    mov     r3, r1
    mov     r4, r1
    mov     r5, r1
    mov     r6, r1
    mov     r7, r1
    mov     r8, r1
    mov     r9, r1
    subs    r2, r2, #480
    blo     2f
1:
    .rept 16
    stm     ip!, {r1, r3-r9}
    .endr
    subs    r2, r2, #512
    bhs     1b
2:  adds    r2, r2, #480
    blt     4f
3:  stm     ip!, {r1, r3-r9}
    subs    r2, r2, #32
    bge     3b
4:  pop     {r4-r9}
.Lset_rest:                             @ the low five bits of r2: bytes left
    lsls    r3, r2, #28
    bcc     1f
    str     r1, [ip], #4
    str     r1, [ip], #4
    str     r1, [ip], #4
    str     r1, [ip], #4
1:  bpl     2f
    str     r1, [ip], #4
    str     r1, [ip], #4
2:  lsls    r3, r2, #30
    strcs   r1, [ip], #4
    strhmi  r1, [ip], #2
    tst     r2, #1
    strbne  r1, [ip]
    bx      lr

.Lset_few:                              @ 0 to 7 bytes: into the middle of seven stores
    rsb     r3, r2, #7
    add     pc, pc, r3, lsl #2
    nop
    .rept 7
    strb    r1, [ip], #1
    .endr
    bx      lr

.Lset_align:                            @ r3 = destination mod 4: 1 to 3 bytes up to a word
    rsb     r3, r3, #4
    sub     r2, r2, r3
    lsls    r3, r3, #31
    strbmi  r1, [ip], #1
    strbcs  r1, [ip], #1
    strbcs  r1, [ip], #1
    b       .Lset_to_word
    .size memset, . - __aeabi_memclr
