/* SPDX-License-Identifier: Apache-2.0 */
/* A static C program that does nothing. It shows the cost of a process. */
int main(void) { return 0; }
