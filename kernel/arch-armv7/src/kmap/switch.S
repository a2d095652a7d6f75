@ Exchanges the translation tables under the running kernel: r0 TTBR1, r1 TTBR0, r2 TTBCR, r3 SCTLR.
@
@ Runs from the fixmap's switch slot, whose page is mapped by the same second-level entry in the old and the new
@ tables, and touches no memory: nothing that the two tables translate differently is used between the first
@ register write and the TLB invalidation (ARM DDI 0406C, B3.10.1: no break-before-make is needed for entries
@ that are in no TLB).
    .section .text.kmap_switch, "ax"
    .arm
    .balign 64
    .global kmap_switch
    .type kmap_switch, %function
kmap_switch:
    dsb
    mcr     p15, 0, r0, c2, c0, 1   @ TTBR1
    isb
    mcr     p15, 0, r2, c2, c0, 2   @ TTBCR: from here on TTBR1 translates the kernel's half
    isb
    mcr     p15, 0, r1, c2, c0, 0   @ TTBR0
    mcr     p15, 0, r3, c1, c0, 0   @ SCTLR: WXN may be cached in TLBs, so before the invalidation
    isb
    mov     r0, #0
    mcr     p15, 0, r0, c8, c7, 0   @ TLBIALL
    mcr     p15, 0, r0, c7, c5, 6   @ BPIALL
    dsb
    isb
    bx      lr
