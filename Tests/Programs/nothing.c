/* SPDX-License-Identifier: Apache-2.0 */
/* A static C program that does nothing: what a process costs. */
int main(void) { return 0; }
